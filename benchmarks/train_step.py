"""Time one training step of a CycleGAN, alone or against a checkout of the reference.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --reference PATH_TO_CHECKOUT --json step.json
    python benchmarks/train_step.py --device cpu --threads 1 --direct --sizes 256 --steps 5

One step is an update of two ResNet-9 generators and two 70 x 70 PatchGANs with 64 filters, least
squares, identity loss 0.5, a pool of 50 and batch 1: the defaults of both sides. The checkout is
of junyanz/pytorch-CycleGAN-and-pix2pix, or of taesungp/contrastive-unpaired-translation, whose
antialiasing is then turned off. Its own ``CycleGANModel.optimize_parameters`` makes the step.

Each side runs in a process of its own, and the two take turns, step by step, so that a change in
the machine's speed meets both. Before that, the reference loads Impasto's weights, and all eight
losses of the first steps are compared, computed directly as the reference does. With ``--direct``,
Impasto's side computes with ``--convolution auto``, a third one with ``direct``, and the ratios are
those to it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from time import perf_counter, process_time
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Job", "Result", "Worker", "largest_difference", "main", "measure"]

Step = Callable[[Tensor, Tensor], Callable[[], dict[str, float]]]

_LOSSES = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
_TOLERANCE = 1e-4
_CHECKED_STEPS = 2
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one process does.

    Attributes:
        size: side of the pictures in pixels.
        device: ``cpu`` or ``cuda``.
        mixed_precision: ``no``, ``bf16`` or ``fp16``; the reference has none of its own, so that
            its step is made under torch's autocast where this is asked for.
        threads: of torch on the CPU, 0 for its default.
        pool_size: pictures in each pool.
        reference: path of the checkout, None for Impasto.
        weights: file that Impasto writes its first weights to and the reference reads.
        batch_size: pictures of each domain in a step.
        steps_per_answer: steps that are made before the device is waited for.
        options: further options of ``impasto train``, by name; the reference has none of them.
        warmup_steps: steps that are made before the first question; a step is captured as a graph
            only once the pools are full.
    """

    size: int
    device: str
    mixed_precision: str = "no"
    threads: int = 0
    pool_size: int = 50
    reference: str | None = None
    weights: str | None = None
    batch_size: int = 1
    steps_per_answer: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    warmup_steps: int = 0


@dataclass(kw_only=True)
class Result:
    """What was measured of one side at one size.

    Attributes:
        size: side of the pictures in pixels.
        side: ``impasto``, ``direct`` (Impasto with ``--convolution direct``) or ``reference``.
        seconds: of each counted step.
        cpu_seconds: that all threads of the process computed in it.
        peak_bytes: the process's largest resident memory, or what torch allocated on the GPU.
    """

    size: int
    side: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0


class Worker:
    """A process that makes steps when asked to.

    Args:
        job: what it does.

    Raises:
        RuntimeError: the process ended; it has said why.
    """

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, __file__, "--worker", json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._environment: dict[str, Any] | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """What the process runs on; waits until it has started."""
        if self._environment is None:
            self._environment = self._answer()
        return self._environment

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def ask(self, question: str) -> Any:
        """Send ``step`` or ``memory``, and return the answer."""
        _ = self.environment  # its first line
        if self._process.stdin is not None:
            self._process.stdin.write(f"{question}\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"a worker ended with exit status {self._process.wait()}")
        return json.loads(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the environment, whether the losses agree, and the table; return 1 if they do not."""
    arguments = _parse(argv)
    if arguments.worker:
        return _serve(Job(**json.loads(arguments.worker)))
    job = Job(
        size=arguments.sizes[0],
        device=arguments.device,
        mixed_precision=arguments.mixed_precision,
        threads=arguments.threads,
    )
    reference = str(arguments.reference.resolve()) if arguments.reference else None
    difference = None
    if reference is not None:
        difference = largest_difference(job, reference)
        agree = difference <= _TOLERANCE
        print(
            f"losses {'agree' if agree else 'DIFFER'}: largest relative difference of "
            f"{len(_LOSSES)} losses in {_CHECKED_STEPS} steps {difference:.1e}",
            flush=True,
        )
        if not agree:
            return 1
    results: list[Result] = []
    environment: dict[str, Any] = {}
    for size in arguments.sizes:
        measured, environment = measure(
            replace(job, size=size),
            reference,
            direct=arguments.direct,
            steps=arguments.steps,
            warmup=arguments.warmup,
        )
        results += measured
    _print(results, environment, arguments)
    if arguments.json:
        record = {
            "environment": environment,
            "reference": reference,
            "mixed_precision": arguments.mixed_precision,
            "loss_difference": difference,
            "results": [asdict(result) for result in results],
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reference", type=Path, help="path of the checkout to compare with")
    parser.add_argument("--direct", action="store_true", help="also without sparing products")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], help="in pixels")
    parser.add_argument("--steps", type=int, default=15, help="counted steps of each side")
    parser.add_argument("--warmup", type=int, default=2, help="steps before that")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--mixed_precision", choices=["no", "bf16", "fp16"], default="no")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every time here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    checkout = arguments.reference
    if checkout and not (checkout / "models" / "cycle_gan_model.py").is_file():
        parser.error(f"--reference: {checkout} has no models/cycle_gan_model.py")
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    return arguments


def largest_difference(job: Job, reference: str) -> float:
    """Return the largest relative difference of the losses, from the same weights and pictures.

    The pools are empty, since each side draws from them with a generator of its own. The second
    step also compares what the first one did to the weights.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        weights = str(Path(folder) / "weights.pth")
        exact = replace(
            job,
            pool_size=0,
            mixed_precision="no",
            weights=weights,
            options={**job.options, "convolution": "direct"},
        )
        workers = []
        for path in (None, reference):
            workers.append(Worker(replace(exact, reference=path)))
            stack.callback(workers[-1].close)
            _ = workers[-1].environment  # Impasto's weights are there before the reference starts
        losses: list[list[dict[str, float]]] = [
            [worker.ask("step")["losses"] for worker in workers] for _ in range(_CHECKED_STEPS)
        ]
    return max(
        abs(first[name] - second[name]) / max(abs(second[name]), 1e-12)
        for first, second in losses
        for name in _LOSSES
    )


def measure(
    job: Job, reference: str | None, *, direct: bool = False, steps: int, warmup: int
) -> tuple[list[Result], dict[str, Any]]:
    """Time all sides in turn.

    Returns:
        Impasto's result, then those of the other sides that there are; and the environment.
    """
    sides = {"impasto": job}
    if direct:
        sides["impasto"] = replace(job, options={"convolution": "auto", **job.options})
        sides["direct"] = replace(job, options={**job.options, "convolution": "direct"})
    if reference:
        sides["reference"] = replace(job, reference=reference)
    results = [Result(size=job.size, side=side) for side in sides]
    with ExitStack() as stack:
        workers = []
        for each in sides.values():
            workers.append(Worker(each))
            stack.callback(workers[-1].close)
        for number in range(warmup + steps):
            for worker, result in zip(workers, results, strict=True):
                answer = worker.ask("step")
                if number >= warmup:
                    result.seconds.append(answer["seconds"])
                    result.cpu_seconds.append(answer["cpu_seconds"])
        for worker, result in zip(workers, results, strict=True):
            result.peak_bytes = worker.ask("memory")
    return results, workers[0].environment


def _print(results: Sequence[Result], environment: dict[str, Any], arguments: Namespace) -> None:
    precision = {"no": "float32"}.get(arguments.mixed_precision, arguments.mixed_precision)
    if arguments.reference and precision != "float32":
        precision += " (the reference, which has no mixed precision, under autocast)"
    print(
        f"torch {environment['torch']}, {environment['threads']} threads, "
        f"{environment['processor']}, {precision}; {arguments.steps} steps of batch 1"
    )
    memory = "GPU peak" if arguments.device == "cuda" else "resident peak"
    print(
        f"{'px':>4} {'':<10}{'s/step':>8}{'quartiles':>16}{'images/s':>10}"
        f"{'CPU s/step':>12}{'quartiles':>16}{memory:>15}"
    )
    for result in results:
        print(
            f"{result.size:>4} {result.side:<10}{_median(result.seconds):>8.3f}"
            f"{_quartiles(result.seconds)}{1 / _median(result.seconds):>10.3f}"
            f"{_median(result.cpu_seconds):>12.3f}{_quartiles(result.cpu_seconds)}"
            f"{f'{result.peak_bytes / _MIB:.0f} MiB':>15}"
        )
        if result.side != "impasto":
            ours = next(other for other in results if other.size == result.size)
            _print_ratio(ours, result)


def _print_ratio(ours: Result, theirs: Result) -> None:
    """Print Impasto over the reference: of the medians, and the quartiles pair by pair."""
    cpu = _median(ours.cpu_seconds) / _median(theirs.cpu_seconds)
    print(
        f"{ours.size:>4} {'ratio':<10}{_median(ours.seconds) / _median(theirs.seconds):>8.3f}"
        f"{_quartiles(np.divide(ours.seconds, theirs.seconds))}"
        f"{_median(theirs.seconds) / _median(ours.seconds):>10.3f}"
        f"{cpu:>12.3f}{_quartiles(np.divide(ours.cpu_seconds, theirs.cpu_seconds))}"
        f"{ours.peak_bytes / theirs.peak_bytes:>15.3f}"
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _quartiles(values: Any) -> str:
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{low:>8.3f}{high:>8.3f}"


def _serve(job: Job) -> int:
    """Be a worker: answer on standard output, whatever else is printed."""
    answers = sys.stdout
    with redirect_stdout(StringIO()):
        if job.threads:
            torch.set_num_threads(job.threads)
        if job.weights is not None:
            torch.backends.cudnn.allow_tf32 = False  # or the comparison would be of roundings
        torch.manual_seed(0)
        step, means = _impasto(job) if job.reference is None else (_reference(job), dict)
        pictures = torch.Generator().manual_seed(1)
        if job.warmup_steps:
            _step(step, replace(job, steps_per_answer=job.warmup_steps), pictures)
        print(json.dumps(_environment(job)), file=answers, flush=True)
        for question in sys.stdin:
            answer: Any = _peak(job.device)
            if question.strip() == "step":
                answer = {**_step(step, job, pictures), **means()}
            print(json.dumps(answer), file=answers, flush=True)
    return 0


def _step(step: Step, job: Job, pictures: torch.Generator) -> dict[str, Any]:
    shape = (2, job.batch_size, 3, job.size, job.size)
    batches = [
        _as_loaded(torch.randint(256, shape, generator=pictures, dtype=torch.uint8), job)
        for _ in range(job.steps_per_answer)
    ]
    started, cpu_started = perf_counter(), process_time()
    losses: Callable[[], dict[str, float]] = dict
    for A, B in batches:
        losses = step(A, B)
    if job.device == "cuda":
        torch.cuda.synchronize()
    return {
        "seconds": (perf_counter() - started) / len(batches),
        "cpu_seconds": (process_time() - cpu_started) / len(batches),
        "losses": losses(),
    }


def _as_loaded(levels: Tensor, job: Job) -> Tensor:
    """Return pictures as the loader of each side gives them: numbers, or bytes in pinned memory."""
    if job.reference is not None:
        return levels / 127.5 - 1
    return levels.pin_memory() if job.device == "cuda" else levels


def _impasto(job: Job) -> tuple[Step, Callable[[], dict[str, bool]]]:
    """Make Impasto's trainer; imported only here, as the other side must not carry it.

    Returns:
        What makes a step, and what tells how steps are made by now.
    """
    from impasto.cyclegan.build import build_trainer  # noqa: PLC0415
    from impasto.data.datasets import UnpairedBatch  # noqa: PLC0415
    from impasto.options.fields import make  # noqa: PLC0415
    from impasto.options.train import TrainOptions  # noqa: PLC0415
    from impasto.runs.processes import (  # noqa: PLC0415
        keep_freed_memory,
        make_accelerator,
    )

    options = make(
        TrainOptions,
        {
            "crop_size": job.size,
            "load_size": job.size,
            "pool_size": job.pool_size,
            "batch_size": job.batch_size,
            **job.options,
        },
    )
    if job.device == "cpu":
        keep_freed_memory()  # as runs/job.py does
    trainer = build_trainer(options, make_accelerator(job.device, job.mixed_precision))
    torch.backends.cudnn.benchmark = True  # as `impasto train` does
    if job.weights is not None:
        torch.save(trainer.networks.state_dict(), job.weights)

    def step(A: Tensor, B: Tensor) -> Callable[[], dict[str, float]]:
        losses = trainer.step([UnpairedBatch(A=A, B=B)]).losses
        return lambda: {name: float(losses[name]) for name in _LOSSES}

    return step, lambda: {"compiled": trainer.compiled, "captured": trainer.captured}


def _reference(job: Job) -> Step:
    """Make the reference's model, with options by hand instead of its command line."""
    warnings.simplefilter("ignore")  # of its own code
    sys.path.insert(0, str(job.reference))
    model = _import_stubbed("models.cycle_gan_model").CycleGANModel(_reference_options(job))
    model.setup(model.opt)
    if job.weights is not None:
        for name, weights in torch.load(job.weights, weights_only=True).items():
            network = getattr(model, f"net{name}")
            getattr(network, "module", network).load_state_dict(weights)

    precision: AbstractContextManager[Any] = (
        nullcontext()
        if job.mixed_precision == "no"
        else torch.autocast(job.device, getattr(torch, {"bf16": "bfloat16"}[job.mixed_precision]))
    )

    def step(A: Tensor, B: Tensor) -> Callable[[], dict[str, float]]:
        model.set_input({"A": A, "B": B, "A_paths": [], "B_paths": []})
        with precision:
            model.optimize_parameters()
        return lambda: dict(model.get_current_losses())

    return step


def _reference_options(job: Job) -> Namespace:
    """Return the defaults of its CycleGAN, by the names of all its ages."""
    # fmt: off
    return Namespace(
        isTrain=True, continue_train=False, verbose=False, amp=False, epoch_count=1,
        name="train_step", checkpoints_dir=tempfile.gettempdir(), direction="AtoB",
        device=torch.device(job.device), gpu_ids=[0] if job.device == "cuda" else [],
        preprocess="resize_and_crop", batch_size=job.batch_size, input_nc=3, output_nc=3,
        netG="resnet_9blocks", ngf=64, netD="basic", ndf=64, n_layers_D=3, no_dropout=True,
        norm="instance", normG="instance", normD="instance", init_type="normal", init_gain=0.02,
        no_antialias=True, no_antialias_up=True,
        gan_mode="lsgan", lambda_A=10.0, lambda_B=10.0, lambda_identity=0.5,
        pool_size=job.pool_size, lr=0.0002, beta1=0.5,
        lr_policy="linear", n_epochs=100, n_epochs_decay=100, lr_decay_iters=50,
    )
    # fmt: on


def _import_stubbed(name: str) -> Any:
    """Import a module; what it needs and is not installed (plots, say) becomes an empty module."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if missing in sys.modules or missing.partition(".")[0] == name.partition(".")[0]:
            raise
        sys.modules[missing] = _Stub(missing)
    return _import_stubbed(name)


class _Stub(ModuleType):
    """An empty module, whose every name is an empty class."""

    __path__: list[str] = []  # noqa: RUF012 - so that parts of it are looked for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _environment(job: Job) -> dict[str, Any]:
    if job.device == "cuda":
        processor = torch.cuda.get_device_name()
    else:
        information = Path("/proc/cpuinfo")
        lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = f"{names[0] if names else platform.processor()} x {os.cpu_count()}"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processor": processor,
    }


def _peak(device: str) -> int:
    """Return the most memory, in bytes, that this process has held so far."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, this does not count the parent before exec
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    import resource  # noqa: PLC0415 - not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    raise SystemExit(main())
