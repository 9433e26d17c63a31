"""A captured step does what an eager one does, for every loss, and nothing waits for the device."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from copy import deepcopy
from typing import Any, ClassVar, Self

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from impasto.cyclegan import Trainer, build, build_trainer, painting, terms
from impasto.cyclegan.strokes import loss as strokes
from impasto.data import UnpairedBatch
from impasto.gatys.features.lite import find_lite_weights
from impasto.options import TrainOptions
from impasto.runs import capture, make_accelerator
from impasto.runs.capture import Compiling, StepGraph, on_device
from tests.recorded_graph import READING, RecordedGraph, Result

Options = Callable[..., TrainOptions]

VARIANTS: dict[str, dict[str, Any]] = {
    "reference": {},
    "vanilla, batch": {"gan_mode": "vanilla", "batch_size": 3, "norm": "batch"},
    "wgangp": {"gan_mode": "wgangp", "norm": "layer", "batch_size": 2},
    "augmented": {"diffaugment": ["color", "translation", "cutout"], "batch_size": 2},
    "palette, average": {"lambda_palette": 2.0, "ema_decay": 0.9, "color_skip": True},
    "earlier pictures": {"batch_size_D": 5, "gan_mode": "wgangp", "diffaugment": ["translation"]},
    "plateau": {"lr_policy": "plateau", "lambda_identity": 0.0},
    "dropout, no pool": {"dropout": True, "pool_size": 0},
    "pairs": {
        "paired": True,
        "norm": "batch",
        "dropout": True,
        "gan_mode": "vanilla",
        "lambda_identity": 0.0,
        "ema_decay": 0.9,
        "diffaugment": ["translation"],
    },
    "bf16": {"mixed_precision": "bf16", "diffaugment": ["cutout"]},
    "perceptual": {"lambda_perceptual": 1.0, "perceptual_backbone": "random"},
    "one-sided, contrastive": {
        "one_sided": True,
        "lambda_nce": 1.0,
        "nce_layers": [0, 4, 8],
        "num_patches": 16,
        "netF_nc": 8,
    },
    "style, one-sided": {
        "lambda_style": 1.0,
        "style_candidates": 3,
        "one_sided": True,
        "lambda_perceptual": 1.0,
        "perceptual_backbone": "lite",
    },
    "style of the collection": {
        "lambda_style": 1.0,
        "style_targets": "both",
        "style_candidates": 2,
        "style_scales": 2,
        "crop_size": 64,
        "load_size": 64,
        "batch_size": 2,
        "lambda_identity": 0.0,
    },
    "strokes, two sides": {
        "lambda_strokes": 0.1,
        "crop_size": 32,
        "load_size": 36,
        "batch_size": 2,
        "lambda_identity": 0.0,
    },
    "noise": {"stroke_noise": True},
    "projected": {"netD": "projected", "gan_mode": "hinge", "crop_size": 32, "load_size": 32},
}
# These look through EfficientNet-Lite0.
if find_lite_weights() is None:
    for name in ("style, one-sided", "style of the collection", "strokes, two sides", "projected"):
        del VARIANTS[name]
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
STEPS, EPOCH = 10, 8
# torch.compile itself looks at the gradients of results, and would fail by a warning of its own.
dynamo = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.fixture(autouse=True)
def soon_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memories be full after three pictures or four, and steps captured two steps later."""
    monkeypatch.setattr(terms, "_PICTURES", 4)
    monkeypatch.setattr(painting, "_KNOWN", 3)
    monkeypatch.setattr(painting, "_DECAY", 0.75)
    monkeypatch.setattr(painting, "_SEEN", 3)
    monkeypatch.setattr(strokes, "_KNOWN", 3)
    monkeypatch.setattr(strokes, "_SHOWN_PICTURES", 4)
    monkeypatch.setattr(capture, "_WARM_UP_STEPS", 2)


class Graphs:
    """Makes graphs, and knows them."""

    def __init__(self, kind: type[RecordedGraph] = RecordedGraph) -> None:
        self.made: list[RecordedGraph] = []
        self._kind = kind

    def __call__(self) -> StepGraph:
        self.made.append(self._kind())
        return self.made[-1]


class NeverCaptured(RecordedGraph):
    def capture(self, work: Callable[[], Result]) -> Result:
        raise AssertionError("a step was captured")


class FailsHalfway(RecordedGraph):
    """Has done the work, contrary to what it should, when it fails."""

    def capture(self, work: Callable[[], Result]) -> Result:
        work()
        torch.rand(3)
        raise RuntimeError("out of memory\nand more lines")


def make_trainer(options: TrainOptions, make_graph: Callable[[], StepGraph]) -> Trainer:
    torch.manual_seed(3)
    accelerator = make_accelerator("cpu", options.run.mixed_precision)
    return build_trainer(options, accelerator, compiling=Compiling(make_graph=make_graph))


def batches(options: TrainOptions, count: int, *, first: int = 0) -> Iterator[UnpairedBatch]:
    for seed in range(first, first + count):
        generator = torch.Generator().manual_seed(seed)
        shape = (options.data.batch_size, 3, options.data.crop_size, options.data.crop_size)
        A, B = torch.randint(256, (2, *shape), generator=generator, dtype=torch.uint8)
        yield UnpairedBatch(A=A, B=B)


def steps(
    trainer: Trainer, options: TrainOptions, count: int = STEPS, *, first: int = 0
) -> list[dict[str, float]]:
    """Make steps, with an epoch's end after the eighth one, and return their losses."""
    losses = []
    for number, batch in enumerate(batches(options, count, first=first), start=first + 1):
        losses.append({name: float(x) for name, x in trainer.step([batch]).losses.items()})
        if number == EPOCH:
            trainer.end_epoch()
            trainer.start_epoch(3)
    return losses


def values(trainer: Trainer) -> list[Tensor]:
    """Return all tensors of both states."""
    leaves = tree_leaves((trainer.state_dict(), trainer.process_state(), torch.get_rng_state()))
    return [leaf.detach().clone() for leaf in leaves if isinstance(leaf, Tensor)]


def assert_equal(some: Trainer, others: list[Tensor]) -> None:
    mine = values(some)
    assert len(mine) == len(others)
    assert all(map(torch.equal, mine, others))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainOptions], tuple[Any, list[Tensor]]]:
    """Return a function that trains without a capture, with the same optimizer."""

    def train(options: TrainOptions) -> tuple[Any, list[Tensor]]:
        with monkeypatch.context() as patch:
            patch.setattr(capture, "_WARM_UP_STEPS", 10**9)
            trainer = make_trainer(options, NeverCaptured)
            return steps(trainer, options), values(trainer)

    return train


@variants
def test_replayed_steps_are_those_that_python_would_make(
    tiny_options: Options, eager: Any, changes: dict[str, Any]
) -> None:
    options = tiny_options(**changes)
    expected, state = eager(options)
    graphs = Graphs()
    trainer = make_trainer(options, graphs)
    assert steps(trainer, options) == expected
    assert_equal(trainer, state)
    (graph,) = graphs.made
    assert graph.captures == 1
    assert graph.replays >= 3  # the last ones in another epoch


@pytest.mark.parametrize("name", ["earlier pictures", "palette, average", "dropout, no pool"])
def test_a_failed_capture_is_undone_and_said(
    tiny_options: Options,
    eager: Any,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = tiny_options(**VARIANTS[name])
    expected, state = eager(options)
    trainer = make_trainer(options, FailsHalfway)
    assert steps(trainer, options) == expected
    assert_equal(trainer, state)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "cannot be captured" in message
    assert "RuntimeError: out of memory)" in message


@pytest.mark.parametrize("stop", [3, 9])
def test_a_state_between_replays_is_continued_exactly(
    tiny_options: Options, eager: Any, stop: int
) -> None:
    options = tiny_options(
        lambda_palette=1.0, ema_decay=0.9, dropout=True, diffaugment=["cutout"], lr_policy="plateau"
    )
    expected, state = eager(options)
    first = make_trainer(options, RecordedGraph)
    before = steps(first, options, stop)
    file = io.BytesIO()
    torch.save((first.state_dict(), first.process_state(), torch.get_rng_state()), file)
    steps(first, options, 2, first=20)  # what is saved does not change with it
    file.seek(0)
    shared, own, random = torch.load(file)
    graphs = Graphs()
    second = make_trainer(options, graphs)
    steps(second, options, 7, first=30)  # was captured with what is replaced now
    assert second._fast_step.captured
    second.load_state_dict(shared)
    second.load_process_state(own)
    torch.set_rng_state(random)
    assert before + steps(second, options, STEPS - stop, first=stop) == expected
    assert_equal(second, state)


def hand_over(giver: Trainer, taker: Trainer) -> None:
    """Let a trainer continue from the states of another, as from a file."""
    shared, own = deepcopy((giver.state_dict(), giver.process_state()))
    taker.load_state_dict(shared)
    taker.load_process_state(own)


def test_states_fit_steps_that_are_not_captured_and_the_reverse(tiny_options: Options) -> None:
    options = tiny_options()
    plain = build_trainer(options, make_accelerator("cpu", "no"))
    fused = make_trainer(options, RecordedGraph)
    again = build_trainer(options, make_accelerator("cpu", "no"))
    steps(plain, options, 3)
    hand_over(plain, fused)
    hand_over(fused, again)
    losses = [steps(trainer, options, 7, first=3) for trainer in (plain, fused, again)]
    assert losses[0] == losses[2]
    for ours, theirs in zip(losses[0], losses[1], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert again.present_learning_rate == plain.present_learning_rate == fused.present_learning_rate
    assert again._optimizer_G.param_groups[0]["fused"] is None
    assert isinstance(fused._optimizer_G.param_groups[0]["lr"], Tensor)


def test_batches_of_another_kind_are_trained_on_beside_the_graph(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tiny_options(lr_policy="plateau")
    # The last step of an epoch has fewer batches.
    sizes = [2, 2, 2, 2, 2, 1, 2, 1]
    all_batches = list(batches(options, sum(sizes)))
    groups = [[all_batches.pop() for _ in range(size)] for size in sizes]
    graphs = Graphs()
    trainer = make_trainer(options, graphs)
    losses = [trainer.step(group).losses for group in groups]
    assert graphs.made[0].replays == 2
    monkeypatch.setattr(capture, "_WARM_UP_STEPS", 10**9)
    eager = make_trainer(options, NeverCaptured)
    assert [eager.step(group).losses for group in groups] == losses
    assert_equal(eager, values(trainer))


def test_batches_that_need_more_room_are_captured_anew(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pools get other tensors, which the first graph does not write to.
    options, larger = tiny_options(diffaugment=["cutout"]), tiny_options(batch_size=3)
    later = [*batches(larger, 1, first=40), *batches(options, 6, first=50)]
    order = [*batches(options, 8), *later]
    graphs = Graphs()
    trainer = make_trainer(options, graphs)
    losses = [trainer.step([batch]).losses for batch in order]
    assert [graph.captures for graph in graphs.made] == [1, 1]
    monkeypatch.setattr(capture, "_WARM_UP_STEPS", 10**9)
    eager = make_trainer(options, NeverCaptured)
    assert [eager.step([batch]).losses for batch in order] == losses
    assert_equal(eager, values(trainer))


@pytest.mark.parametrize("compiled", [False, True])
def test_bytes_give_the_steps_that_their_numbers_give(
    tiny_options: Options, compiled: bool
) -> None:
    options = tiny_options(batch_size=2)
    make_graph = RecordedGraph if compiled else None
    as_bytes, as_numbers = (
        build_trainer(
            options, make_accelerator("cpu", "no"), compiling=Compiling(make_graph=make_graph)
        )
        for _ in range(2)
    )
    for batch in batches(options, STEPS):
        numbers = UnpairedBatch(A=batch.A.float() / 127.5 - 1, B=batch.B.float() / 127.5 - 1)
        assert as_bytes.step([batch, batch]).losses == as_numbers.step([numbers, numbers]).losses
    assert as_bytes.captured == compiled
    held = as_bytes._fast_step._held
    assert [tensor.dtype for tensor in held] == [torch.uint8] * (4 if compiled else 0)
    assert_equal(as_bytes, values(as_numbers))


def test_losses_stay_what_they_are_when_the_next_step_is_made(tiny_options: Options) -> None:
    options = tiny_options()
    trainer = make_trainer(options, RecordedGraph)
    kept = [trainer.step([batch]).losses for batch in batches(options, STEPS)]
    again = make_trainer(options, RecordedGraph)
    assert [{name: float(x) for name, x in losses.items()} for losses in kept] == steps(
        again, options, EPOCH
    ) + [{name: float(x) for name, x in losses.items()} for losses in kept[EPOCH:]]


@pytest.mark.slow
@dynamo
def test_200_steps_of_compiled_networks_have_the_same_losses(tiny_options: Options) -> None:
    # Not the default backend, which takes minutes to compile for a processor. This one traces,
    # derives and decomposes as that does, and then calls torch's own operations.
    options = tiny_options()
    plain, fast = (
        build_trainer(options, make_accelerator("cpu", "no"), compiling=compiling)
        for compiling in (Compiling(), Compiling(networks=True, backend="aot_eager"))
    )
    losses = [
        [trainer.step([batch]).losses for batch in batches(options, 200)]
        for trainer in (plain, fast)
    ]
    assert all(network._compiled_call_impl is not None for network in fast.networks.values())
    for eager, compiled in zip(*losses, strict=True):
        ours = {name: float(value) for name, value in compiled.items()}
        theirs = {name: float(value) for name, value in eager.items()}
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


@dynamo
def test_critics_with_a_gradient_penalty_are_not_compiled(tiny_options: Options) -> None:
    # torch.compile has no derivatives of derivatives.
    options = tiny_options(gan_mode="wgangp", norm="layer")
    compiling = Compiling(networks=True, backend="eager")
    trainer = build_trainer(options, make_accelerator("cpu", "no"), compiling=compiling)
    trainer.step(list(batches(options, 1)))
    compiled = {name for name, x in trainer.networks.items() if x._compiled_call_impl is not None}
    assert compiled == {"G_A", "G_B"}


# What reads from the device, or sends to it. The device is torch's `meta`, on which every operation
# is checked and none computes: it has no numbers that could be read.

DEVICE = torch.device("meta")


class NoTraffic:
    """Forbids to read from the device, to send to it, and to mix its tensors with others.

    Args:
        sends: allow to send.
    """

    def __init__(self, *, sends: bool = False) -> None:
        self._modes = _Operations(sends=sends), _Functions(sends=sends)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for mode in self._modes:
            self._stack.enter_context(mode)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def operations(self) -> int:
        return self._modes[0].count


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, *, sends: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sends, self.count = sends, 0

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.count += 1
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._schema.name in READING and any(x.device == DEVICE for x in inputs):
            raise AssertionError(f"{func} reads from the device")
        result = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        places = {x.device.type for x in inputs}
        ends = {x.device.type for x in outputs}
        if places | ends == {"cpu", "meta"} and not self._sends:
            raise AssertionError(f"{func} goes from {sorted(places)} to {sorted(ends)}")
        if "meta" in places and "cpu" in ends:
            raise AssertionError(f"{func} copies to the host")
        return result


class _Functions(TorchFunctionMode):
    """Sees those that make a tensor of numbers of Python, which no operation tells of."""

    def __init__(self, *, sends: bool) -> None:
        super().__init__()
        self._sends = sends

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in {torch.tensor, torch.as_tensor, Tensor.new_tensor} and not self._sends:
            assert result.device != DEVICE, f"{func} sends to the device"
        return result


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: bool(x > 0),
        float,
        lambda x: x.cpu(),
        lambda x: x + torch.ones(2, 2),
        lambda x: x * torch.tensor(2.0),
        lambda x: x.copy_(torch.ones(())),
        lambda x: torch.tensor([1.0, 2.0], device=x.device),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.ones(3).to(x.device),
        lambda x: x[x > 0],
    ],
)
def test_the_guard_sees_whatever_goes_to_and_fro(reads: Callable[[Tensor], Any]) -> None:
    value = torch.zeros((), device=DEVICE)
    with NoTraffic(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        reads(value)


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let accelerators compute on the device without numbers."""
    monkeypatch.setattr(Accelerator, "device", DEVICE)
    # It knows no autocast, which changes types and no places.
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_kwargs: nullcontext())


GUARDED = {name: changes for name, changes in VARIANTS.items() if name != "bf16"}


class GuardedGraph(RecordedGraph):
    """Guards a step that is made, which is sent what the host decides, and one that is captured."""

    operations: ClassVar[list[int]] = []

    def warm_up(self, work: Callable[[], Result]) -> Result:
        with NoTraffic(sends=True) as guard:
            result = work()
        self.operations.append(guard.operations)
        return result

    def capture(self, work: Callable[[], Result]) -> Result:
        with NoTraffic() as guard:
            result = work()
        self.operations.append(guard.operations)
        return result

    def replay(self) -> None:
        """Do nothing, since nothing can be computed."""


@pytest.mark.usefixtures("on_meta")
@pytest.mark.parametrize("changes", GUARDED.values(), ids=GUARDED)
def test_no_step_reads_from_the_device_and_a_captured_one_is_sent_nothing(
    tiny_options: Options, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fused optimizers do not know this device; that they read nothing is shown on the CPU, above.
    monkeypatch.setattr(build, "make_adam", plain_adam)
    monkeypatch.setattr(capture, "_undoing", lambda _learner: _not_undone)
    monkeypatch.setattr(capture, "_WARM_UP_STEPS", 1)
    monkeypatch.setattr(terms, "_PICTURES", 2)
    monkeypatch.setattr(painting, "_KNOWN", 1)
    monkeypatch.setattr(painting, "_SEEN", 1)
    monkeypatch.setattr(strokes, "_KNOWN", 1)
    GuardedGraph.operations.clear()
    one = {"style_candidates": 1} if "lambda_style" in changes else {}
    options = tiny_options(**{"pool_size": 1, **changes, **one})
    trainer = make_trainer(options, GuardedGraph)
    for batch in batches(options, 3):
        trainer.step([batch])
    assert trainer._fast_step.captured
    made, captured = GuardedGraph.operations
    assert min(made, captured) > 500


def plain_adam(parameters: Any, *, lr: float, in_graph: bool, **settings: Any) -> Optimizer:
    assert in_graph
    return Adam(parameters, lr=lr, **settings)


def _not_undone() -> None:
    raise AssertionError("the capture failed")


class Drifting(terms.LossTerm):
    """A term whose value the host counts."""

    def __init__(self, *, decided: bool, capturable: bool) -> None:
        super().__init__("drift")
        self.capturable = capturable
        self._decided, self._count = decided, 0

    def __call__(self, batch: UnpairedBatch, made: terms.Translations) -> Tensor:
        count = on_device(self._next, batch.A.device) if self._decided else self._next()
        return made.fake_B.mean() * 0 + count

    def _next(self) -> Tensor:
        self._count += 1
        return torch.tensor(float(self._count))


def test_terms_of_others_are_captured_only_where_they_say_that_they_can_be(
    tiny_options: Options, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tiny_options()
    accelerator = make_accelerator("cpu", "no")
    term = Drifting(decided=True, capturable=True)
    trainer = build_trainer(
        options, accelerator, extra_terms=[term], compiling=Compiling(make_graph=RecordedGraph)
    )
    assert [losses["drift"] for losses in steps(trainer, options)] == list(range(1, STEPS + 1))
    assert trainer._fast_step.captured
    monkeypatch.setattr(Accelerator, "device", torch.device("cuda"))
    with caplog.at_level(logging.WARNING):
        chosen = capture.choose_compiling(
            "graph", accelerator, hindrances=["the loss drift does not say"]
        )
    assert chosen == Compiling()
    assert "the loss drift does not say" in caplog.text
