"""Known failures are named in words, at the same picture in a resumed run; sound runs are not.

Contrast and correlation of translations, against NumPy, and how the trainer measures them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto.cyclegan import Networks, ResnetGenerator, build_trainer, train
from impasto.cyclegan.doctor import CycleganDoctor, contrast_and_correlation, read_back
from impasto.cyclegan.jobs import train as train_module
from impasto.data import UnpairedBatch
from impasto.options import TrainingError, TrainOptions
from impasto.runs import Observer, Progress, make_accelerator, read_log
from impasto.runs.doctor import DataWait, Doctor, Level, Record, Rise, Sign, Window

Options = Callable[..., TrainOptions]

WORDS = {
    "lost": "almost without error",
    "rising": "has risen",
    "plain": "nearly plain",
    "negative": "like a negative",
    "waiting": "waited for pictures",
}


def make_doctor(**changes: Any) -> CycleganDoctor:
    options = {"gan_mode": "lsgan", "num_threads": 0, "cache_images": False}
    return CycleganDoctor(**{**options, **changes})


def healthy(report: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return a report of 100 images as noisy as those of the tiny preset on monet2photo."""

    def noisy(value: float, spread: float) -> float:
        return float(value * np.exp(spread * rng.normal()))

    cycle = 20 / (1 + report / 20) + 10
    losses = {"cycle_A": noisy(cycle / 10, 0.15), "cycle_B": noisy(cycle / 10, 0.15)}
    losses |= {"D_A": noisy(0.12, 0.4), "D_B": noisy(0.12, 0.4)}
    losses |= {"G_A": noisy(0.6, 0.2), "G_B": noisy(0.6, 0.2), "idt_A": 1.0, "idt_B": 1.0}
    outputs = {f"contrast_{domain}": noisy(1.1, 0.4) for domain in "AB"}
    outputs |= {f"correlation_{domain}": float(rng.uniform(0.3, 0.95)) for domain in "AB"}
    position = {"epoch": 1 + report // 10, "images": 100 * report, "steps": 100 * report}
    weights = {"cycle_A": 10.0, "cycle_B": 10.0}
    measured = {"losses": losses, "weights": weights, "outputs": outputs}
    return {**position, **measured, "data_wait": noisy(0.02, 0.5)}


def course(
    reports: int, bad: Mapping[str, float] | None = None, span: range = range(0)
) -> Iterator[dict[str, Any]]:
    """Yield reports, with the values of ``bad`` in those of ``span``."""
    rng = np.random.default_rng(0)
    for report in range(1, reports + 1):
        record = healthy(report, rng)
        for name, value in (bad or {}).items():
            if report in span:
                part = next((record[p] for p in ("losses", "outputs") if name in record[p]), record)
                part[name] = value
        yield record


def examine(doctor: Doctor, records: Iterator[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the pictures at which each warning was up."""
    found: dict[str, list[int]] = {}
    for record in records:
        for warning in doctor.examine(record):
            found.setdefault(warning, []).append(record["images"])
    return found


LOST = {"D_A": 0.01, "G_A": 0.98}
RISEN = {"cycle_B": 9.0}
PLAIN = {"contrast_B": 0.01}
NEGATIVE = {"correlation_A": -0.7}
WAITING = {"data_wait": 0.5}


@pytest.mark.parametrize("gan_mode", ["lsgan", "vanilla", "wgangp"])
def test_a_noisy_healthy_run_is_left_alone(gan_mode: str) -> None:
    assert examine(make_doctor(gan_mode=gan_mode), course(3000)) == {}


@pytest.mark.parametrize("bad", [LOST, RISEN, PLAIN, NEGATIVE, WAITING])
def test_a_bad_beginning_is_forgiven(bad: Mapping[str, float]) -> None:
    assert examine(make_doctor(), course(60, bad, range(4))) == {}


@pytest.mark.parametrize(
    ("name", "bad", "words", "since", "first"),
    [
        # The windows cover 1000 steps: eleven reports from 3000 on; those before still count.
        ("lost", LOST, ("D_A", "G_A", "domain B", "--netD n_layers --n_layers_D 2"), 2900, 3900),
        ("rising", RISEN, ("B -> A -> B", "--lambda_B"), 2900, 3200),
        ("plain", PLAIN, ("G_A", "--norm instance"), 2900, 3900),
        ("negative", NEGATIVE, ("G_B", "--lambda_identity", "--seed"), 2500, 3600),
        ("waiting", WAITING, ("--num_threads", "local disk"), 2500, 3300),
    ],
)
def test_a_failure_is_named_once_with_its_beginning_and_ends(
    name: str, bad: Mapping[str, float], words: Sequence[str], since: int, first: int
) -> None:
    found = examine(make_doctor(), course(90, bad, range(30, 60)))
    assert len(found) == 1, "one text, the same from report to report"
    ((warning, images),) = found.items()
    assert WORDS[name] in warning
    assert all(word in warning for word in words)
    said = int(warning.partition("image ")[2].split()[0].strip(".:;,"))
    assert said == pytest.approx(since, abs=400)
    assert images[0] == pytest.approx(first, abs=300)
    assert images == list(range(images[0], images[-1] + 100, 100)), "without gaps"
    assert 5900 <= images[-1] < 7200, "over when a window is sound again"


def test_noise_around_a_bound_does_not_make_a_warning_come_and_go() -> None:
    rng = np.random.default_rng(1)
    level = Level(
        "low since {since}",
        lambda record: float(record["value"]),
        begins=1.0,
        ends=2.0,
        window=Window(steps=1, reports=2),
    )
    said = [
        level.look({"steps": step, "images": step, "value": 1.0 + 0.4 * rng.normal()})
        for step in range(300)
    ]
    first = next(place for place, words in enumerate(said) if words)
    assert set(said[first:]) == {f"low since {first - 1}"}


@pytest.mark.parametrize(("gan_mode", "named"), [("vanilla", True), ("wgangp", False)])
def test_other_losses_of_discriminators(gan_mode: str, named: bool) -> None:
    # Certain of both with 0.97: -ln 0.97 and -ln 0.03.
    bad = {"D_B": 0.03, "G_B": 3.5}
    assert bool(examine(make_doctor(gan_mode=gan_mode), course(60, bad, range(20, 60)))) is named


def test_a_small_loss_of_a_discriminator_that_is_fooled_is_no_failure() -> None:
    bad = {"D_B": 0.01, "G_B": 0.35}
    assert examine(make_doctor(), course(60, bad, range(20, 60))) == {}


def test_networks_that_have_diverged_are_named_early() -> None:
    found = examine(make_doctor(), course(30, {"G_A": 1e14}, range(5, 31)))
    words = "The loss G_A has been beyond 100 since image 500"
    assert [when[0] for said, when in found.items() if said.startswith(words)] == [700]
    wild = {"G_A": 1e6}
    assert (
        examine(make_doctor(), course(30, wild, range(5, 6))) == {}
    )  # one report among sound ones
    assert examine(make_doctor(gan_mode="wgangp"), course(30, wild, range(5, 31))) == {}


def test_the_cycle_loss_counts_without_its_weight() -> None:
    def weighed(records: Iterable[dict[str, Any]], weight: float) -> Iterator[dict[str, Any]]:
        return ({**record, "weights": {"cycle_B": weight}} for record in records)

    risen = list(course(90, RISEN, range(30, 60)))
    assert examine(make_doctor(), iter(risen))
    assert examine(make_doctor(), weighed(risen, 0.0)) == {}
    # Twice as much of next to nothing is next to nothing.
    tiny = {"cycle_B": 0.1}
    more = {"cycle_B": 0.2}
    records = [*course(40, tiny, range(41)), *list(course(80, more, range(81)))[40:]]
    assert examine(make_doctor(), iter(records)) == {}
    assert examine(make_doctor(), weighed(records, 1.0))
    # A loss that rises only because a resumed run raised its weight.
    grown = list(course(80, {"cycle_B": 4.0}, range(41, 81)))[40:]
    before = course(40, {"cycle_B": 2.0}, range(41))
    assert examine(make_doctor(), chain(before, weighed(grown, 20.0))) == {}


def test_a_resumed_run_is_judged_like_an_uninterrupted_one() -> None:
    bad = {**LOST, **RISEN, **PLAIN, **NEGATIVE}
    records = [json.loads(json.dumps(record)) for record in course(100, bad, range(30, 60))]
    whole = make_doctor()
    expected = [whole.examine(record) for record in records]
    assert max(map(len, expected)) == 4
    for stop in (0, 1, 29, 31, 39, 41, 59, 65, 99):
        resumed = make_doctor()
        resumed.restore(records[:stop])
        assert [resumed.examine(record) for record in records[stop:]] == expected[stop:]


def test_waiting_is_of_the_machine_and_judged_anew() -> None:
    records = list(course(40, WAITING, range(41)))
    assert make_doctor().examine(records[-1]) == []
    doctor = make_doctor()
    doctor.restore(records)
    assert doctor.examine(records[-1]) == []


def test_what_is_remembered_is_bounded() -> None:
    window = Window(steps=1000, reports=10)
    sizes, means = [], []
    for step in range(1, 5001):
        window.add({"steps": step, "images": step}, float(step))
        sizes.append(len(window))
        means.append(window.mean)
    assert max(sizes) == 1001
    assert means[999] is None
    assert means[-1] == pytest.approx(4500)
    sparse = Window(steps=1000, reports=10)
    for step in range(0, 50_000, 5000):
        assert sparse.mean is None
        sparse.add({"steps": step, "images": step}, 1.0)
    assert (sparse.mean, len(sparse)) == (1.0, 10)


def test_logs_of_earlier_versions_and_missing_values_are_passed_over() -> None:
    records = list(course(60))
    for record in records[:20]:
        del record["outputs"]
    for record in records[20:]:
        record["outputs"] = dict.fromkeys(record["outputs"])
        record["losses"] = {}
    doctor = make_doctor()
    doctor.restore(records[:20])
    assert examine(doctor, iter(records[20:])) == {}


@pytest.mark.parametrize(
    ("num_threads", "cache_images", "has", "has_not"),
    [
        (0, False, ("--num_threads 4", "--cache_images true"), "processes than"),
        (4, False, ("--num_threads 8", "--cache_images true"), "of their own"),
        (2, True, ("--num_threads 4", "--load_size"), "--cache_images"),
    ],
)
def test_the_advice_on_loading_fits_the_run(
    num_threads: int, cache_images: bool, has: Sequence[str], has_not: str
) -> None:
    sign = DataWait(num_threads=num_threads, cache_images=cache_images)
    words = [sign.look(record) for record in course(60, WAITING, range(61))]
    assert words[-1] is not None
    assert all(part in words[-1] for part in has)
    assert has_not not in words[-1]


def test_a_cache_is_given_the_time_to_fill() -> None:
    sign = DataWait(num_threads=3, cache_images=True)
    # Ten reports an epoch; in the first one, all pictures are read, whichever process does it.
    words = [sign.look(record) for record in course(60, WAITING, range(10))]
    assert not any(words)
    sign = DataWait(num_threads=3, cache_images=True)
    assert any(sign.look(record) for record in course(60, WAITING, range(25)))


def test_rises_of_a_loss_are_seen_from_the_lowest_mean() -> None:
    sign = Rise(
        "since {since}",
        lambda record: float(record["value"]),
        begins=1.5,
        ends=1.2,
        least=0.1,
        window=Window(steps=0, reports=1),
    )
    values = [4, 2, 3.1, 2.5, 2.3, 2.9, 1, 1.4, 1.6]
    said = [
        sign.look({"steps": step, "images": step, "value": value})
        for step, value in enumerate(values)
    ]
    assert said == [None, None, "since 1", "since 1", None, None, None, None, "since 6"]


class Impatient(Observer):
    """Asks a doctor who decides after 60 steps instead of 1000, so that tests take seconds."""

    def __init__(self) -> None:
        self.doctor = make_doctor(cache_images=True, patience_steps=60)
        self.records: list[Record] = []
        self.warnings: dict[str, int] = {}

    def on_report(self, progress: Progress, record: Record) -> None:
        self.records.append({**asdict(progress), **record})
        for warning in self.doctor.examine(self.records[-1]):
            self.warnings.setdefault(warning, progress.images)


LONG = {"n_epochs": 500, "print_freq": 5, "display": "none", "save_latest_freq": 10**6}
LONG |= {"display_freq": 10**6, "save_epoch_freq": 1000, "init_gain": 0.02}


@pytest.mark.slow
def test_a_short_sound_training_is_left_alone(tiny_options: Options) -> None:
    watch = Impatient()
    train(tiny_options(**LONG, max_images=75), observers=[watch])
    assert watch.warnings == {}
    assert len(watch.records) == 15
    assert set(watch.records[-1]["outputs"]) == {
        *("contrast_B", "correlation_B", "contrast_A", "correlation_A")
    }


def test_a_training_that_makes_plain_pictures_is_named(tiny_options: Options) -> None:
    watch = Impatient()
    changes = {**LONG, "norm": "none", "init_gain": 0.001, "lr": 1e-6}
    train(tiny_options(**changes, max_images=70), observers=[watch])
    assert [words.partition(" ")[0] for words in watch.warnings] == ["G_A", "G_B"]
    assert all("nearly plain" in words for words in watch.warnings)
    assert set(watch.warnings.values()) == {65}


@pytest.mark.slow
def test_a_training_whose_discriminators_win_is_named(
    tiny_options: Options, picture_folder: Callable[..., Path]
) -> None:
    striped = picture_folder("striped", count=7)
    for path in striped.iterdir():
        picture = np.array(Image.open(path))
        picture[::4] = 255
        Image.fromarray(picture).save(path)
    watch = Impatient()
    weights = {"lambda_A": 1000.0, "lambda_B": 1000.0, "ndf": 16, "lr": 0.002}
    folders = {"folder_A": picture_folder("data/trainA"), "folder_B": striped}
    options = tiny_options(**LONG, **weights, **folders, max_images=180)
    train(options, observers=[watch])
    assert watch.warnings
    assert all("almost without error" in words for words in watch.warnings)


@pytest.mark.slow
def test_a_training_whose_cycle_loss_rises_is_named(tiny_options: Options) -> None:
    watch = Impatient()
    train(tiny_options(**LONG, max_images=70), observers=[watch])
    assert watch.warnings == {}
    faster = tiny_options(**LONG, max_images=150, lr=0.2)
    train(faster, resume=True, allow_changes=True, observers=[watch])
    assert any("has risen" in words for words in watch.warnings)


def test_a_training_whose_losses_are_no_numbers_says_what_to_try(tiny_options: Options) -> None:
    changes = {**LONG, "lr": 1e6, "norm": "none"}
    with pytest.raises(TrainingError, match=r"Try a lower --lr, or --mixed_precision bf16"):
        train(tiny_options(**changes))


@pytest.mark.slow
def test_a_run_logs_the_same_warnings_whether_resumed_or_not(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "build_doctor", lambda _: make_doctor(patience_steps=30))
    changes = {**LONG, "norm": "none", "init_gain": 0.001, "lr": 1e-6, "print_freq": 3}
    whole = train(tiny_options(**changes, max_images=48, name="whole"))
    train(tiny_options(**changes, max_images=40, name="parts"))
    parts = train(tiny_options(**changes, max_images=48, name="parts"), resume=True)
    logs = [read_log(result.directory / "log.jsonl") for result in (whole, parts)]
    said = [[record["warnings"] for record in log] for log in logs]
    assert said[0] == said[1]
    assert [len(warnings) for warnings in said[0]] == [0] * 10 + [2] * 6


def test_a_doctor_without_signs_finds_nothing() -> None:
    class Always:
        def look(self, record: Record) -> str | None:
            return f"{record['images']} images"

    sign: Sign = Always()
    assert Doctor().examine({"images": 1}) == []
    assert Doctor([sign]).examine({"images": 1}) == ["1 images"]


def make_batch(*, size_A: int = 24, size_B: int = 24, count: int = 2) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(0)
    A, B = (
        torch.rand(count, 3, size, size, generator=generator) * 2 - 1 for size in (size_A, size_B)
    )
    return UnpairedBatch(A=A, B=B)


def test_contrast_and_correlation_are_those_of_numpy() -> None:
    batch = make_batch()
    luma = [
        np.tensordot(images.double().numpy(), [0.2126, 0.7152, 0.0722], axes=(1, 0))
        for images in (batch.A, batch.B)
    ]
    contrast = np.mean([one.std() / other.std() for one, other in zip(*luma, strict=True)])
    correlation = np.mean(
        [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(*luma, strict=True)]
    )
    found = contrast_and_correlation(batch.A, batch.B).tolist()
    assert found == pytest.approx([contrast, correlation], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda images: images, (1, 1)),
        (lambda images: -images, (1, -1)),
        (lambda images: 0.3 - images / 2, (0.5, -1)),
        (torch.zeros_like, (0, None)),
        (lambda images: images * 1e-3, (1e-3, None)),
        (lambda images: images * float("nan"), (None, None)),
    ],
)
def test_measures_of_known_translations(
    change: Callable[[Tensor], Tensor], expected: tuple[float | None, float | None]
) -> None:
    batch = make_batch()
    found = read_back(contrast_and_correlation(change(batch.A), batch.A))
    assert found == pytest.approx(list(expected), abs=1e-4)


def test_plain_inputs_are_left_out() -> None:
    A = make_batch().A
    A[0] = 0.5
    assert read_back(contrast_and_correlation(-A, A)) == pytest.approx([1, -1], abs=1e-4)
    assert read_back(contrast_and_correlation(-A[:1], A[:1])) == [None, None]


class Negative(ResnetGenerator):
    def forward(self, x: Tensor) -> Tensor:
        return -x


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_output_statistics_tell_each_generator_and_change_nothing(
    tiny_options: Options, mixed_precision: str
) -> None:
    options = tiny_options(norm="batch", dropout=True, mixed_precision=mixed_precision)
    trainer = build_trainer(options, make_accelerator("cpu", mixed_precision))
    negative = Negative(channels=1, blocks=1)
    trainer.networks = Networks({**trainer.networks, "G_B": negative})
    before, random = deepcopy(trainer.networks.state_dict()), torch.get_rng_state()
    batch = make_batch(size_B=32)
    statistics = trainer.output_statistics(batch)
    assert json.loads(json.dumps(statistics)) == statistics
    assert statistics == trainer.output_statistics(batch), "nothing random"
    assert statistics["correlation_A"] == pytest.approx(-1, abs=1e-3)
    assert statistics["contrast_A"] == pytest.approx(1, abs=1e-3)
    trainer.networks["G_A"].eval()
    with torch.no_grad():
        expected = contrast_and_correlation(trainer.networks["G_A"](batch.A), batch.A).tolist()
    trainer.networks["G_A"].train()
    found = [statistics["contrast_B"], statistics["correlation_B"]]
    assert found == pytest.approx(expected, abs=0.02 if mixed_precision == "bf16" else 1e-5)
    assert torch.equal(random, torch.get_rng_state())
    for name, weights in trainer.networks.state_dict().items():
        assert all(torch.equal(weights[key], before[name][key]) for key in weights)
    assert all(network.training for network in trainer.networks.values())
