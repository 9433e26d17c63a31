"""Trainings with a perceptual loss: one through a network of gatys.features, and a stand-in."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.cyclegan import build_loader, build_trainer, train
from impasto.gatys import make_perceptual_distance
from impasto.gatys.features import distances
from impasto.options import CheckpointError, OptionError, TrainOptions
from impasto.runs import load_state, make_accelerator, read_log
from tests.trainings import make_batch, numbers

Options = Callable[..., TrainOptions]


class Brightness:
    """Compares mean brightness."""

    def __init__(self, name: str = "brightness") -> None:
        self.name, self.calls = name, 0

    def __call__(self, image: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        return (image.mean(dim=(1, 2, 3)) - target.mean(dim=(1, 2, 3))).square().mean()

    def fingerprint(self) -> str:
        return self.name


def records(options: TrainOptions) -> list[dict[str, Any]]:
    log = read_log(options.run.checkpoints_dir / options.run.name / "log.jsonl")
    timed = {"seconds", "data_wait", "images_per_second"}
    return [{key: record[key] for key in record if key not in timed} for record in log]


@pytest.mark.parametrize("targets", ["translation", "reconstruction", "both"])
def test_it_compares_with_the_input_what_is_asked_for(tiny_options: Options, targets: str) -> None:
    options = tiny_options(lambda_perceptual=3.0, perceptual_targets=targets)
    trainer = build_trainer(options, make_accelerator("cpu", "no"), perceptual=Brightness())
    batch = make_batch(0)
    with torch.no_grad():
        made = trainer.translate(batch)
    assert made.fake_A is not None
    assert made.rec_A is not None
    assert made.rec_B is not None
    compare = Brightness()
    by_name = {
        "translation": (compare(made.fake_B, batch.A), compare(made.fake_A, batch.B)),
        "reconstruction": (compare(made.rec_A, batch.A), compare(made.rec_B, batch.B)),
    }
    names = list(by_name) if targets == "both" else [targets]
    losses = trainer.step([batch]).losses
    for domain, found in enumerate((losses["perceptual_A"], losses["perceptual_B"])):
        expected = 3 * sum(float(by_name[name][domain]) for name in names) / len(names)
        assert float(found) == pytest.approx(expected, rel=1e-4)
    assert trainer.loss_weights["perceptual_A"] == 3


def test_it_pulls_the_generators(tiny_options: Options) -> None:
    def brightness_gap(weight: float) -> float:
        options = tiny_options(lambda_perceptual=weight, lr=0.01, lambda_identity=0.0)
        perceptual = Brightness() if weight else None
        trainer = build_trainer(options, make_accelerator("cpu", "no"), perceptual=perceptual)
        for step in range(8):
            trainer.step([make_batch(step)])
        batch = make_batch(99)
        with torch.no_grad():
            return float(Brightness()(trainer.translate(batch).fake_B, batch.A))

    assert brightness_gap(1000.0) < brightness_gap(0.0) / 2


def test_without_it_nothing_is_compared_or_logged(tiny_options: Options) -> None:
    options, distance = tiny_options(max_images=3), Brightness()
    train(options, perceptual=distance)
    assert distance.calls == 0
    assert not any("perceptual" in name for name in records(options)[0]["losses"])


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit_with_the_loss_in_log_and_page(tiny_options: Options) -> None:
    changes = {"lambda_perceptual": 2.0, "display": "page"}

    def run(name: str, **more: Any) -> TrainOptions:
        options = tiny_options(name=name, **changes, **more)
        train(options, resume=name == "parts" and not more, perceptual=Brightness())
        return options

    whole = run("whole")
    run("parts", max_images=5)
    parts = run("parts")
    one, other = (options.run.checkpoints_dir / options.run.name for options in (whole, parts))
    assert numbers(load_state(one / "state.pt")) == numbers(load_state(other / "state.pt"))
    assert records(whole) == records(parts)
    assert all(record["losses"]["perceptual_A"] > 0 for record in records(whole))
    assert "perceptual_A" in (one / "web" / "index.html").read_text(encoding="utf-8")


def test_another_loss_on_resuming_is_refused(tiny_options: Options) -> None:
    options = tiny_options(lambda_perceptual=1.0, max_images=3)
    train(options, perceptual=Brightness("one"))
    more = tiny_options(lambda_perceptual=1.0)
    with pytest.raises(CheckpointError, match="--perceptual_weights"):
        train(more, resume=True, perceptual=Brightness("another"))


def test_it_can_be_added_on_resuming_if_changes_are_allowed(tiny_options: Options) -> None:
    train(tiny_options(max_images=4))  # between two reports, so that losses of both kinds meet
    more = tiny_options(lambda_perceptual=1.0)
    with pytest.raises(OptionError, match=r"lambda_perceptual: 0\.0 -> 1\.0"):
        train(more, resume=True, perceptual=Brightness())
    train(more, resume=True, allow_changes=True, perceptual=Brightness())
    assert "perceptual_A" in records(more)[-1]["losses"]


def test_the_network_that_the_options_name_is_made_unless_one_is_passed(
    tiny_options: Options,
) -> None:
    changes = {"perceptual_backbone": "random", "perceptual_layers": ["relu1_2"]}
    options = tiny_options(lambda_perceptual=1.0, max_images=1, print_freq=1, **changes)
    told: list[str] = []
    train(options, announce=told.append)
    assert told == ["perceptual loss: random (no file), relu1_2"]
    # The first loss again: the same fresh networks, pictures and filters, put together by hand.
    accelerator = make_accelerator("cpu", "no")
    trainer, loader = build_trainer(options, accelerator), build_loader(options, accelerator)
    distance = make_perceptual_distance("random", layers=["relu1_2"], device=torch.device("cpu"))
    batch = next(iter(loader)).to(accelerator.device)  # numbers of bytes
    with torch.no_grad():
        expected = distance(trainer.translate(batch).fake_B, batch.A)
    assert records(options)[0]["losses"]["perceptual_A"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.slow
def test_a_run_of_before_lite_resumes_with_the_network_it_had(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no weights were found, ``auto`` was random weights; the options do not tell."""
    changes = {"lambda_perceptual": 1.0, "crop_size": 32, "load_size": 32}
    with monkeypatch.context() as before:
        before.setattr(distances, "find_lite_weights", lambda: None)
        whole = tiny_options(name="whole", **changes)
        train(whole)
        train(tiny_options(name="parts", max_images=5, **changes))
    told: list[str] = []
    parts = tiny_options(name="parts", **changes)
    train(parts, resume=True, announce=told.append)
    assert told == ["perceptual loss: random (no file), relu3_3"]
    assert records(parts) == records(whole)
    one, other = (
        load_state(options.run.checkpoints_dir / options.run.name / "state.pt")["learner"]
        for options in (whole, parts)
    )
    assert numbers(one) == numbers(other)
    train(tiny_options(name="new", max_images=1, **changes), announce=told.append)
    assert told[1].startswith("perceptual loss: lite (")
    assert told[1].endswith(", block4.expand")


@pytest.mark.parametrize(
    "changes",
    [
        {"perceptual_layers": ["relu1_1"]},
        {"perceptual_weights": "file.pth"},
        {"perceptual_backbone": "resnet50"},
        {"perceptual_targets": "both"},
    ],
)
def test_settings_without_a_weight_are_refused(
    tiny_options: Options, changes: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="give --lambda_perceptual"):
        tiny_options(**changes)


def test_the_options_are_stored_as_yaml(tiny_options: Options) -> None:
    options = tiny_options(lambda_perceptual=1.0, perceptual_layers=["a", "b"], max_images=2)
    train(options, perceptual=Brightness())
    train(
        tiny_options(lambda_perceptual=1.0, perceptual_layers=["a", "b"], max_images=4),
        resume=True,
        perceptual=Brightness(),
    )
    log = options.run.checkpoints_dir / "tiny" / "log.jsonl"
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["images"] == 3
