r"""Measure on a GPU what a user waits for: training, translating, stylizing, evaluating.

    python benchmarks/on_gpu.py --cut CHECKOUT --crowsonkb CHECKOUT --json on_gpu.json
    python benchmarks/on_gpu.py --device cpu --tiny            a try of the script itself

What no GPU has run yet takes about six minutes, without a checkout. The first command is for where
there is a network, the second for the machine with the GPU::

    make typing && pip download --no-deps --dest wheels jsonargparse docstring-parser dominate
    pip install --no-index --no-deps --target /tmp/site wheels/*.whl ; \
    PYTHONPATH=/tmp/site:$PWD/.typing python benchmarks/on_gpu.py --minutes 6 --json on_gpu.json \
        --parts machine checks train translate evaluate

``checks`` tells whether captured steps are right there, the others how fast they are. With
``--compile``, ``--compile full`` is measured, too, for which each side compiles for minutes.

The checkouts are of taesungp/contrastive-unpaired-translation (CUT, whose CycleGAN is the
reference's) and of crowsonkb/style-transfer-pytorch; without one, Impasto is measured alone.

Beside torch, torchvision and the libraries of setup.cfg that are installed already, a bare machine
needs wheels of pure Python: ``pip download --no-deps jsonargparse docstring-parser dominate``
here, and there ``pip install --no-index --no-deps --target SITE *.whl``, with SITE and the
folder ``.typing`` (``make typing``) on PYTHONPATH. Nothing is downloaded: the networks have random
weights, and the pictures are cut out of the photographs of scikit-image and scikit-learn.

Each part runs in processes of its own, so that one that fails takes no other with it. A part that
would begin after ``--minutes`` is left out, and said to be. A step that was to be captured or
compiled, and was not, is no result: its row is a failure, and the exit status is 1.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

_ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(_ROOT))

from benchmarks.train_step import Job, Worker, largest_difference  # noqa: E402 - after the path

__all__ = ["main"]

Record = dict[str, Any]

_PARTS = (
    "machine",
    "checks",
    "step",
    "step8",
    "translate",
    "train",
    "stylize",
    "evaluate",
    "losses",
)
_IMPASTO = (sys.executable, "-m", "impasto")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each part, and return 1 if a part failed."""
    arguments = _parse(argv)
    if arguments.worker:
        return _work(json.loads(arguments.worker))
    began = time.monotonic()
    record: Record = {
        "date": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "machine": _machine(arguments.device),
        "parts": {},
    }
    print(json.dumps(record["machine"]), flush=True)
    measure: dict[str, Callable[[Namespace, Path], Record]] = {
        "machine": _measure_ceilings,
        "checks": _check_captured_steps,
        "losses": _compare_losses,
        "step": _measure_step,
        "step8": _measure_step_of_8,
        "stylize": _measure_stylize,
        "translate": _measure_translate,
        "train": _measure_train,
        "evaluate": _measure_evaluate,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts:
            passed = time.monotonic() - began
            if passed > 60 * arguments.minutes:
                record["parts"][name] = {"left_out": f"after {arguments.minutes} minutes"}
                print(f"\n{name}: left out, {passed:.0f} s have passed", flush=True)
                continue
            print(f"\n{name} (at {passed:.0f} s)", flush=True)
            try:
                record["parts"][name] = measure[name](arguments, Path(folder))
            except Exception as error:  # noqa: BLE001 - the other parts go on
                record["parts"][name] = {"failed": f"{type(error).__name__}: {error}"}
                print(f"FAILED: {type(error).__name__}: {error}", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 1 if any("failed" in part for part in record["parts"].values()) else 0


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cut", type=Path, help="path of a checkout of CUT")
    parser.add_argument("--crowsonkb", type=Path, help="path of a checkout of its program")
    parser.add_argument("--minutes", type=float, default=5, help="after which no part begins")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--rounds", type=int, default=6, help="of the sides that take turns")
    parser.add_argument(
        "--compile", action="store_true", help="also measure --compile full, which takes minutes"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes for a try without a GPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    for name, file in (("cut", "models/cycle_gan_model.py"), ("crowsonkb", "style_transfer")):
        checkout = getattr(arguments, name)
        if checkout and not (checkout / file).exists():
            parser.error(f"--{name}: {checkout} has no {file}")
    if not arguments.worker and arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here; --device cpu --tiny tries the script")
    return arguments


def _machine(device: str) -> Record:
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


# What the machine could do at most.


def _measure_ceilings(arguments: Namespace, _folder: Path) -> Record:
    """Measure the rates of a large product in each precision, and of a copy."""
    if arguments.device == "cpu":
        return {}
    rates: Record = {}
    side = 8192
    for name, kind, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = torch.randn(2, side, side, device="cuda").to(kind)
        rates[f"{name}_tflops"] = 2 * side**3 / _seconds_of(partial(torch.mm, a, b), 10) / 1e12
    source = torch.empty(2**28, device="cuda").uniform_()
    target = torch.empty_like(source)
    # Bytes read and bytes written.
    rates["copy_gb_per_s"] = 2 * 4 * 2**28 / _seconds_of(lambda: target.copy_(source), 10) / 1e9
    print("  ".join(f"{name} {value:.0f}" for name, value in rates.items()))
    return rates


def _seconds_of(work: Callable[[], Any], times: int) -> float:
    """Return the median seconds of some calls, by the device's own clock."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(times):
        start, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1000)
    return float(np.median(seconds))


# Whether captured steps are right.


def _check_captured_steps(arguments: Namespace, folder: Path) -> Record:
    """Compare captured steps with those that Python makes."""
    file = folder / "captured_steps.json"
    script = str(_ROOT / "benchmarks" / "captured_steps.py")
    command = [sys.executable, script, "--device", arguments.device, "--json", str(file)]
    done = subprocess.run(command, check=False, timeout=240)  # noqa: S603 - our own command
    if done.returncode:
        raise RuntimeError(f"captured_steps.py: exit status {done.returncode}, see above")
    record: Record = json.loads(file.read_text(encoding="utf-8"))
    return record


# Training steps, on batches that are in memory already.


def _compare_losses(arguments: Namespace, _folder: Path) -> Record:
    """Compare all losses of two steps with CUT's, in float32 without TF32."""
    if arguments.cut is None:
        return {"left_out": "no checkout of CUT"}
    size = 32 if arguments.tiny else 256
    difference = largest_difference(
        Job(size=size, device=arguments.device), str(arguments.cut.resolve())
    )
    print(f"largest relative difference of the losses of two steps: {difference:.1e}")
    return {"largest_relative_difference": difference}


def _measure_step(arguments: Namespace, _folder: Path) -> Record:
    return _measure_steps(arguments, batch_size=1)


def _measure_step_of_8(arguments: Namespace, _folder: Path) -> Record:
    return _measure_steps(arguments, batch_size=2 if arguments.tiny else 8)


def _measure_steps(arguments: Namespace, *, batch_size: int) -> Record:
    """Let all sides take turns; each turn is some steps and one wait for the device."""
    size = 32 if arguments.tiny else 256
    small = {"netG": "resnet_6blocks", "ngf": 8, "ndf": 8} if arguments.tiny else {}
    small["compile"] = "off"
    job = Job(
        size=size,
        device=arguments.device,
        batch_size=batch_size,
        steps_per_answer=2 if arguments.tiny else 10,
        options=small,
    )
    bf16 = replace(job, mixed_precision="bf16")
    jobs = {"impasto": job, "impasto bf16": bf16}
    if arguments.cut is not None:
        theirs = replace(job, reference=str(arguments.cut.resolve()), options={})
        jobs |= {"CUT": theirs, "CUT bf16 (autocast)": replace(theirs, mixed_precision="bf16")}
    if arguments.device == "cuda":
        jobs |= {
            "impasto, graph": _compiled(job, "graph"),
            "impasto bf16, graph": _compiled(bf16, "graph"),
        }
    if arguments.compile:
        jobs |= {
            "impasto, full": _compiled(job, "full"),
            "impasto bf16, full": _compiled(bf16, "full"),
        }
    if batch_size == 1:
        recipe = {"norm": "layer", "netG": "resnet_6blocks", "ngf": 32, "ndf": 32}
        recipe |= {"upsample": "bilinear", "color_skip": True, "lambda_palette": 2.0}
        recipe |= {"batch_size_D": 4, "diffaugment": ["translation"], "ema_decay": 0.999}
        small_job = replace(job, size=96, options={**recipe, **small})
        small_bf16 = replace(small_job, mixed_precision="bf16")
        jobs |= {"small recipe, 96 px": small_job, "small recipe, 96 px, bf16": small_bf16}
        if arguments.device == "cuda":
            jobs["small recipe, 96 px, graph"] = _compiled(small_job, "graph")
    return _take_turns(jobs, arguments.rounds, batch_size)


def _compiled(job: Job, mode: str) -> Job:
    """Return a job with a compiled step, which is made often enough before to be captured."""
    warmup = 0 if job.device == "cpu" else 75 // job.batch_size + 10
    return replace(job, options={**job.options, "compile": mode}, warmup_steps=warmup)


def _take_turns(jobs: dict[str, Job], rounds: int, batch_size: int) -> Record:
    seconds: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    peaks: dict[str, int] = {}
    for group in _groups(jobs, batch_size):
        with ExitStack() as stack:
            workers = {}
            for name in group:  # all start at once
                workers[name] = Worker(jobs[name])
                stack.callback(workers[name].close)
            for number in range(rounds + 1):
                for name in [name for name in group if name not in failed]:
                    try:
                        answer = workers[name].ask("step")
                        _refuse_other_than_asked(jobs[name], answer)
                        if number:  # the first turn warms up
                            seconds.setdefault(name, []).append(answer["seconds"])
                        if number == rounds:
                            peaks[name] = workers[name].ask("memory")
                    except (RuntimeError, OSError, ValueError) as error:
                        failed[name] = str(error)
                        seconds.pop(name, None)
    sizes = {name: job.size for name, job in jobs.items()}
    return _report_turns(seconds, peaks, failed, batch_size, sizes)


def _groups(jobs: dict[str, Job], batch_size: int) -> list[list[str]]:
    """Return the sides that take turns: in 32 bits, six of a batch of 8 do not fit into 80 GB."""
    if batch_size == 1:
        return [list(jobs)]
    parts = [[name for name in jobs if ("bf16" in name) == halved] for halved in (False, True)]
    return [part for part in parts if part]


def _refuse_other_than_asked(job: Job, answer: Record) -> None:
    """Refuse the time of a step that fell back to a slower way.

    Raises:
        RuntimeError: it was to be captured or compiled, and was not.
    """
    mode = job.options.get("compile", "off")
    captures = mode in {"graph", "full"} and job.device == "cuda"
    for kind, asked in (("captured as a graph", captures), ("compiled", mode == "full")):
        if asked and not answer[kind.split()[0]]:
            raise RuntimeError(
                f"NOT {kind}, its warning is above; {1000 * answer['seconds']:.1f} ms/step without"
            )


def _report_turns(
    seconds: dict[str, list[float]],
    peaks: dict[str, int],
    failed: dict[str, str],
    batch_size: int,
    sizes: dict[str, int],
) -> Record:
    """Print and return the table; pictures of another size are compared with nothing."""
    record: Record = {"batch_size": batch_size, "failed_sides": failed, "sides": {}}
    if failed:
        record["failed"] = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    if not seconds:
        raise RuntimeError(record["failed"])
    base = "CUT" if "CUT" in seconds else next(iter(seconds))
    print(f"{'':<34}{'ms/step':>9}{'quartiles':>16}{'images/s':>10}{'times ' + base:>15}{'MiB':>8}")
    for name, values in seconds.items():
        median = float(np.median(values))
        low, high = np.quantile(values, [0.25, 0.75])
        same = sizes[name] == sizes[base]
        ratio = float(np.median(seconds[base])) / median if same else None
        record["sides"][name] = {
            "seconds": values,
            "images_per_s": batch_size / median,
            "ratio": ratio,
            "peak_bytes": peaks.get(name),
        }
        times = "" if ratio is None else f"{ratio:.2f}"
        print(
            f"{name:<34}{1000 * median:>9.1f}{1000 * low:>8.1f}{1000 * high:>8.1f}"
            f"{batch_size / median:>10.1f}{times:>15}{peaks.get(name, 0) / 2**20:>8.0f}"
        )
    for name, reason in failed.items():
        print(f"{name:<34} FAILED: {reason}")
    return record


# Whole commands.


def _pictures(folder: Path, count: int, side: int) -> Path:
    """Cut pictures out of the sample photographs, once."""
    from PIL import Image  # noqa: PLC0415 - only where it is needed

    from impasto.data.samples.photographs import sample_photographs  # noqa: PLC0415 - only where it is needed

    target = folder / f"pictures_{side}"
    if target.exists():
        return target
    target.mkdir()
    photographs = [Image.fromarray(picture) for picture in sample_photographs().values()]
    chance = np.random.default_rng(0)
    for number in range(count):
        photograph = photographs[chance.integers(len(photographs))]
        shorter = min(photograph.size)
        width = int(chance.integers(shorter // 2, shorter + 1))
        left, top = (int(chance.integers(0, length - width + 1)) for length in photograph.size)
        piece = photograph.crop((left, top, left + width, top + width))
        piece.resize((side, side)).save(target / f"{number:04d}.jpg", quality=90)
    return target


def _run(command: Sequence[str], *, limit_s: float = 150, refused: str | None = None) -> float:
    """Run a command to its end, and return its wall time.

    Raises:
        RuntimeError: it failed, or said what is refused here.
    """
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, timeout=limit_s, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"exit status {done.returncode}: {done.stdout[-300:]}{done.stderr[-600:]}"
        )
    wall = time.monotonic() - began
    said = (done.stdout + done.stderr).splitlines()
    if refused and (lines := [line for line in said if refused in line]):
        raise RuntimeError(f"not as it should be measured: {lines[0]}")
    return wall


def _measure_translate(arguments: Namespace, folder: Path) -> Record:
    """Time the whole command, and what is left when its start is taken off."""
    count, side = (6, 64) if arguments.tiny else (256, 512)
    photos = _pictures(folder, count, side)
    one = folder / "one"
    one.mkdir(exist_ok=True)
    first = next(iter(sorted(photos.iterdir())))
    (one / first.name).write_bytes(first.read_bytes())
    record: Record = {"pictures": count, "side_px": side}
    models = {"monet_cycle": ("monet_cycle", ["no"])}
    if not arguments.tiny:
        precisions = ["no"] if arguments.device == "cpu" else ["no", "bf16"]
        models["resnet_9blocks"] = (_random_generator(folder), precisions)
    for name, (model, precisions) in models.items():
        for precision in precisions:
            common = [*_IMPASTO, "translate", "--model", model, "--device", arguments.device]
            common += ["--mixed_precision", precision, "--batch_size", "8", "--num_threads", "8"]
            common += ["--format", "jpg"]
            place = folder / f"out {name} {precision}"
            start = _run([*common, str(one), "--output", str(place / "one")])
            whole = _run([*common, str(photos), "--output", str(place / "all")])
            # Of a few small pictures nothing is left; such a rate would be nonsense.
            rate = (count - 1) / (whole - start) if whole > 1.2 * start else None
            network = _work_in_process(
                {"task": "network", "model": model, "precision": precision, "side": side}
                | {"device": arguments.device, "times": 2 if arguments.tiny else 10}
            )["images_per_s"]
            record[f"{name}, {precision}"] = {
                "start_s": start,
                "whole_s": whole,
                "images_per_s": rate,
                "network_images_per_s": network,
            }
            print(
                f"{name:<16} {precision:<5} start {start:6.1f} s, whole {whole:6.1f} s, then "
                f"{rate or 0:7.1f} images/s; the network alone {network:7.1f} images/s"
            )
    return record


def _random_generator(folder: Path) -> str:
    """Write a ResNet-9 generator with random weights."""
    path = folder / "random_resnet9.pth"
    _work_in_process({"task": "generator", "path": str(path)})
    return str(path)


def _measure_train(arguments: Namespace, folder: Path) -> Record:
    """Run the whole training command, with its loader, displays and checkpoints."""
    count, side = (6, 64) if arguments.tiny else (256, 512)
    photos = _pictures(folder, count, side)
    data = folder / "domains"
    for domain in ("trainA", "trainB"):
        (data / domain).mkdir(parents=True, exist_ok=True)
        for file in photos.iterdir():
            (data / domain / file.name).write_bytes(file.read_bytes())
    record: Record = {}
    precision = "no" if arguments.device == "cpu" else "bf16"
    for batch_size in (1, 8):
        name = f"batch {batch_size}, {precision}"
        runs = folder / "runs"
        command = [*_IMPASTO, "train", "--dataroot", str(data), "--name", name.replace(", ", "_")]
        command += ["--checkpoints_dir", str(runs), "--device", arguments.device]
        command += ["--batch_size", str(batch_size), "--mixed_precision", precision]
        command += ["--num_threads", "0" if arguments.tiny else "8", "--n_epochs_decay", "0"]
        command += ["--n_epochs", "1" if batch_size == 1 else "3", "--print_freq", "64"]
        if arguments.tiny:
            command += ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4"]
            command += ["--load_size", "36", "--crop_size", "32", "--print_freq", "2"]
        wall = _run(command, refused="--compile")
        log = (runs / name.replace(", ", "_") / "log.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in log.splitlines()]
        reports = [line for line in lines if "images_per_second" in line][1:]
        rates = [line["images_per_second"] for line in reports]
        waits = [line.get("data_wait", 0) for line in reports]
        record[name] = {"wall_s": wall, "images_per_s": rates, "reports": reports[-1:]}
        print(
            f"{name:<16} whole {wall:6.1f} s; reports {np.median(rates) if rates else 0:7.1f} "
            f"images/s, waited for data {np.median(waits) if waits else 0:.3f}"
        )
    return record


def _measure_stylize(arguments: Namespace, folder: Path) -> Record:
    """Time the preset crowsonkb against its program, both with one random VGG19."""
    side = 96 if arguments.tiny else 512
    pictures = _pictures(folder, 6 if arguments.tiny else 256, 64 if arguments.tiny else 512)
    content, style = sorted(pictures.iterdir())[:2]
    weights = folder / "vgg19.pth"
    _work_in_process({"task": "vgg", "path": str(weights)})
    common = {
        "content": str(content),
        "style": str(style),
        "weights": str(weights),
        "device": arguments.device,
        "size": side,
        "iterations": [4, 2] if arguments.tiny else [100, 60],
    }
    sides = {"impasto": {"task": "stylize", **common}}
    if arguments.device == "cuda":
        sides["impasto bf16"] = {"task": "stylize", **common, "precision": "bf16"}
    if arguments.crowsonkb is not None:
        sides["crowsonkb"] = {
            "task": "crowsonkb",
            **common,
            "checkout": str(arguments.crowsonkb.resolve()),
        }
    record = {name: _work_in_process(job) for name, job in sides.items()}
    base = record.get("crowsonkb", record["impasto"])["seconds"]
    for name, values in record.items():
        print(
            f"{name:<16}{values['seconds']:>8.2f} s, {base / values['seconds']:.2f} times as fast, "
            f"{values['peak_bytes'] / 2**20:.0f} MiB"
        )
    return record


def _measure_evaluate(arguments: Namespace, folder: Path) -> Record:
    """Time the whole command on pictures against themselves."""
    count, side = (6, 64) if arguments.tiny else (256, 512)
    photos = _pictures(folder, count, side)
    command = [*_IMPASTO, "evaluate", str(photos), "--real", str(photos), "--inputs", str(photos)]
    command += ["--output", str(folder / "evaluation"), "--device", arguments.device]
    command += ["--backbone", "random"]
    if arguments.tiny:
        command += ["--size_px", "64", "--patches", "256"]
    wall = _run(command)
    print(f"evaluate {count} pictures, SWD and KID with a random network: {wall:.1f} s")
    return {"pictures": count, "wall_s": wall}


# What runs in a process of its own.


def _work_in_process(job: Record) -> Record:
    done = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, __file__, "--worker", json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{job['task']}: {done.stderr[-800:]}")
    answer: Record = json.loads(done.stdout.splitlines()[-1])
    return answer


def _work(job: Record) -> int:
    tasks = {
        "network": _network,
        "generator": _generator,
        "vgg": _vgg,
        "stylize": _stylize,
        "crowsonkb": _crowsonkb,
    }
    output = sys.stdout
    with redirect_stdout(StringIO()):
        answer = tasks[job["task"]](job)
    print(json.dumps(answer), file=output)
    return 0


def _network(job: Record) -> Record:
    """Time a generator alone, on a batch of 8 that is on the device."""
    import impasto  # noqa: PLC0415 - only in this process

    generator = impasto.load_generator(job["model"]).network.to(job["device"]).eval()
    torch.backends.cudnn.benchmark = True
    batch = torch.rand(8, 3, job["side"], job["side"], device=job["device"]) * 2 - 1
    wait: Callable[[], None] = torch.cuda.synchronize if job["device"] == "cuda" else _do_nothing
    seconds = []
    enabled = job["precision"] == "bf16"
    with torch.inference_mode(), torch.autocast(job["device"], torch.bfloat16, enabled=enabled):
        for number in range(job["times"] + 3):
            began = time.perf_counter()
            generator(batch)
            wait()
            if number >= 3:
                seconds.append(time.perf_counter() - began)
    return {"images_per_s": len(batch) / float(np.median(seconds))}


def _do_nothing() -> None:
    """Wait for nothing: the CPU has no queue."""


def _generator(job: Record) -> Record:
    from impasto.cyclegan.build import build_networks  # noqa: PLC0415 - only in this process
    from impasto.options.networks import NetworkOptions  # noqa: PLC0415 - only in this process

    networks = build_networks(NetworkOptions(), generator=torch.Generator().manual_seed(0))
    torch.save(networks["G_A"].state_dict(), job["path"])
    return {}


def _vgg(job: Record) -> Record:
    from impasto.gatys.features.random import RandomRecipe, random_vgg  # noqa: PLC0415 - only in this process

    recipe = RandomRecipe(width=1.0, pooling="max", centered=True, replicate_padding=False)
    torch.save(random_vgg(0, recipe).state_dict(), job["path"])
    return {}


def _stylize(job: Record) -> Record:
    import impasto  # noqa: PLC0415 - only in this process

    began = time.perf_counter()
    impasto.stylize(
        job["content"],
        job["style"],
        preset="crowsonkb",
        backbone="vgg19",
        weights=job["weights"],
        size=job["size"],
        iterations=job["iterations"],
        device=job["device"],
        mixed_precision=job.get("precision", "no"),
    )
    return _measured(began, job["device"])


def _crowsonkb(job: Record) -> Record:
    """Call the program's library, with torchvision's VGG19 filled from our file."""
    import torchvision  # noqa: PLC0415 - only in this process
    from PIL import Image  # noqa: PLC0415 - only in this process

    sys.path.insert(0, job["checkout"])
    page = ModuleType("style_transfer.web_interface")  # needs a web server
    page.__dict__["WebInterface"] = None
    sys.modules[page.__name__] = page
    from style_transfer import StyleTransfer  # type: ignore[import-not-found] # noqa: PLC0415 - only in this process

    make = torchvision.models.vgg19

    def vgg19(**_weights: Any) -> Any:
        network = make(init_weights=False)
        network.load_state_dict(torch.load(job["weights"], weights_only=True), strict=False)
        return network

    torchvision.models.vgg19 = vgg19
    first, rest = job["iterations"]
    began = time.perf_counter()
    StyleTransfer(devices=[job["device"]]).stylize(
        Image.open(job["content"]).convert("RGB"),
        [Image.open(job["style"]).convert("RGB")],
        end_scale=job["size"],
        min_scale=min(128, job["size"]),
        initial_iterations=first,
        iterations=rest,
    )
    return _measured(began, job["device"])


def _measured(began: float, device: str) -> Record:
    if device == "cuda":
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return {"seconds": time.perf_counter() - began, "peak_bytes": peak}


if __name__ == "__main__":
    raise SystemExit(main())
