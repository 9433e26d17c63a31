"""Whole trainings of a classifier, of seconds: files, resuming bit for bit, the end, the page."""

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from impasto.gatys.classifier.loading import ClassBatch, ClassPictures
from impasto.gatys.classifier.train import backbone_file, train_backbone
from impasto.gatys.features.weight_files import is_trained_here, read_weights
from impasto.options import (
    CheckpointError,
    FolderError,
    ImpastoError,
    LostProcessError,
    OptionError,
    flatten,
    make,
)
from impasto.options.backbone import BackboneOptions
from impasto.runs import Observer, Pictures, Progress, load_state, read_log
from impasto.runs.curves import choose_losses
from impasto.runs.log import read_runs

if TYPE_CHECKING:
    from tests.browser import Page

Options = Callable[..., BackboneOptions]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Return a function that makes options of a training of a second; takes flat changes.

    Two classes that differ in their color: 10 pictures each to learn from, and 3 held out.
    """
    rng = np.random.default_rng(0)
    for place, name in enumerate(("warm", "cold")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(13):
            rgb = rng.integers(0, 120, (36, 40, 3), dtype=np.uint8)
            rgb[..., 2 * place] += 120
            Image.fromarray(rgb).save(tmp_path / "data" / name / f"{index:02d}.png")
    base = {
        "name": "tiny",
        "checkpoints_dir": str(tmp_path / "checkpoints"),
        "device": "cpu",
        "dataroot": str(tmp_path / "data"),
        "val_share": 0.23,
        "size": 32,
        "depth": 16,
        "width": 0.0625,
        "batch_norm": True,
        "batch_size": 4,
        "num_threads": 0,
        "n_epochs": 3,
        "print_freq": 8,
        "display_freq": 12,
        "save_latest_freq": 12,
        "save_epoch_freq": 2,
        "plateau_patience": 0,
        "display": "none",
    }
    return lambda **changes: make(BackboneOptions, {**base, **changes})


def directory(options: BackboneOptions) -> Path:
    return options.run.checkpoints_dir / options.run.name


def state_of(options: BackboneOptions) -> dict[str, Any]:
    return load_state(directory(options) / "state.pt")


def records(options: BackboneOptions) -> list[dict[str, Any]]:
    timed = {"seconds", "data_wait", "images_per_second"}
    log = read_log(directory(options) / "log.jsonl")
    return [{key: record[key] for key in record if key not in timed} for record in log]


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Compare nested states bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, Mapping):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}[{index}]")
    else:
        assert one == other, where


def assert_same_runs(one: BackboneOptions, other: BackboneOptions) -> None:
    assert_same(state_of(one), state_of(other))
    assert records(one) == records(other)
    left, right = (load_file(backbone_file(directory(run))) for run in (one, other))
    assert_same(left, right)


class Killer(Observer):
    """Sends this process a signal after a number of steps."""

    def __init__(self, after: int, number: signal.Signals) -> None:
        self.after, self.number = after, number

    def on_step(self, progress: Progress) -> None:
        if progress.steps == self.after:
            os.kill(os.getpid(), self.number)


# What a run leaves.


def test_a_run_directory_is_that_of_any_training(options: Options) -> None:
    result = train_backbone(options())
    assert result.signal is None
    assert (result.progress.images, result.progress.epoch) == (60, 4)
    names = {path.name for path in result.directory.iterdir()}
    assert names == {
        *(
            "options.yaml",
            "log.jsonl",
            "state.pt",
            "state.previous.pt",
            "web",
            ".lock",
            "backbone.safetensors",
        ),
        *("latest_net_classifier.pth", "2_net_classifier.pth"),
    }
    text = (result.directory / "options.yaml").read_text(encoding="utf-8")
    assert text.startswith("# All options of this run. To repeat it: impasto backbone train ")
    assert flatten(make(BackboneOptions, yaml.safe_load(text))) == flatten(options())
    whole = torch.load(result.directory / "latest_net_classifier.pth", weights_only=True)
    assert_same(dict(whole), dict(state_of(options())["learner"]["network"]))


def test_the_log_tells_losses_while_learning_and_scores_where_an_epoch_ends(
    options: Options,
) -> None:
    train_backbone(options())
    log = records(options())
    assert [(record["epoch"], record["images"]) for record in log] == [
        *((1, 8), (1, 16), (1, 20), (2, 24), (2, 32), (2, 40), (3, 48), (3, 56), (3, 60)),
    ]
    for place, record in enumerate(log):
        assert set(record["losses"]) == {"loss", "top1"}
        assert ("scores" in record) == (place % 3 == 2)
    assert set(log[2]["scores"]) == {"loss_val", "top1_val"}


def test_it_learns_to_tell_colors_and_keeps_the_best_epoch(options: Options) -> None:
    how = options(n_epochs=8, lr=0.003, save_latest_freq=1000, save_epoch_freq=1000)
    result = train_backbone(how)
    scores = [record["scores"] for record in records(how) if "scores" in record]
    losses = [score["loss_val"] for score in scores]
    said = read_weights(backbone_file(result.directory)).provenance
    best = int(said["epoch"])
    assert losses[best - 1] == min(losses)
    assert float(said["loss_val"]) == pytest.approx(min(losses), rel=1e-5)
    assert float(said["top1_val"]) == pytest.approx(scores[best - 1]["top1_val"], rel=1e-5)
    assert max(score["top1_val"] for score in scores) == 1
    assert json.loads(said["classes"]) == ["cold", "warm"]
    architecture = json.loads(said["architecture"])
    assert (architecture["depth"], architecture["width"]) == (16, 0.0625)


def test_before_the_first_epoch_has_ended_the_present_weights_are_there(options: Options) -> None:
    result = train_backbone(options(max_images=4))
    file = backbone_file(result.directory)
    assert is_trained_here(file)
    assert not is_trained_here(result.directory / "state.pt")
    said = read_weights(file).provenance
    assert said["epoch"] == "0"
    assert "top1_val" not in said


@pytest.mark.parametrize(("changes", "inputs"), [({}, 4 * 32), ({"pooled": 1}, 32)])
def test_what_the_fully_connected_layers_see(
    options: Options, changes: dict[str, Any], inputs: int
) -> None:
    how = options(max_images=4, size=64, **changes)
    train_backbone(how)
    network = state_of(how)["learner"]["network"]
    assert network["classifier.0.weight"].shape[1] == inputs


def test_top_5_with_more_than_five_classes(
    options: Options, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    for seed in range(6):
        picture_folder(f"six/{seed}", count=3, seed=seed)
    how = options(dataroot=str(tmp_path / "six"), n_epochs=1)
    result = train_backbone(how)
    scores = records(how)[-1]["scores"]
    assert set(scores) == {"loss_val", "top1_val", "top5_val"}
    assert scores["top5_val"] >= scores["top1_val"]
    assert "top5_val" in read_weights(backbone_file(result.directory)).provenance


def test_unreadable_pictures_are_told_of(options: Options, tmp_path: Path) -> None:
    for name in ("cold", "warm"):
        (tmp_path / "data" / name / "zz.png").write_bytes(b"no picture")
    result = train_backbone(options(n_epochs=1))
    assert {path.name for path in result.unreadable} == {"zz.png"}
    assert len(result.unreadable) == 2


# Resuming.

RICH: dict[str, Any] = {
    "num_threads": 1,
    "gradient_accumulation_steps": 2,
    "cache_images": True,
    "init": "xavier",
    "depth": 19,
}


@pytest.mark.parametrize(
    ("changes", "stop_at"),
    [
        ({}, 4),
        ({}, 12),  # in the middle of an epoch, after a report
        ({}, 20),  # at its very end
        ({}, 24),
        ({}, 56),
        (RICH, 36),
        ({"batch_norm": False, "mixed_precision": "bf16"}, 28),
    ],
)
def test_resumed_equals_uninterrupted(
    options: Options, changes: dict[str, Any], stop_at: int
) -> None:
    whole, parts = (options(name=name, **changes) for name in ("whole", "parts"))
    train_backbone(whole)
    stopped = train_backbone(options(name="parts", max_images=stop_at, **changes))
    assert stopped.progress.images == stop_at
    train_backbone(parts, resume=True)
    assert_same_runs(whole, parts)


@pytest.mark.parametrize("after", [3, 7, 10])
def test_stopped_by_ctrl_c_and_resumed_equals_uninterrupted(options: Options, after: int) -> None:
    whole, parts = options(name="whole"), options(name="parts")
    train_backbone(whole)
    stopped = train_backbone(parts, observers=[Killer(after, signal.SIGINT)])
    assert stopped.signal == signal.SIGINT
    assert stopped.progress.steps == after
    train_backbone(parts, resume=True)
    assert_same_runs(whole, parts)


def test_killed_and_resumed_equals_uninterrupted(options: Options) -> None:
    whole, parts = options(name="whole"), options(name="parts")
    train_backbone(whole)
    process = multiprocessing.get_context("fork").Process(
        target=train_backbone,
        args=(parts,),
        kwargs={"observers": [Killer(8, signal.SIGKILL)]},
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    # Saved in the middle of the second epoch, and killed two steps later.
    assert state_of(parts)["progress"] == {"epoch": 2, "images": 24, "steps": 6}
    train_backbone(parts, resume=True)
    assert_same_runs(whole, parts)


@pytest.mark.parametrize("asked", [False, True])
def test_where_a_process_that_loads_held_out_pictures_is_killed_all_steps_are_saved(
    options: Options, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    changes: dict[str, Any] = {"num_threads": 1, "save_latest_freq": 1000, "display_freq": 1000}
    whole, parts = (options(name=name, **changes) for name in ("whole", "parts"))
    train_backbone(whole)
    # The first held-out picture is loaded three times, once in each epoch; the second time, its
    # process is killed, or hangs when the end is asked for.
    epoch = multiprocessing.get_context("fork").Value("i", 0)
    main, center = os.getpid(), ClassPictures.center

    def load(pictures: ClassPictures, index: int) -> ClassBatch:
        if index == 0:
            epoch.value += 1
            if epoch.value == 2:
                if asked:
                    os.kill(main, signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGSTOP if asked else signal.SIGKILL)
        return center(pictures, index)

    with monkeypatch.context() as patch:
        patch.setattr(ClassPictures, "center", load)
        if asked:
            assert train_backbone(parts).signal == signal.SIGTERM
        else:
            with pytest.raises(LostProcessError, match=r"killed.*The last good state, at image 40"):
                train_backbone(parts)
    assert state_of(parts)["progress"] == {"epoch": 2, "images": 40, "steps": 10}
    train_backbone(parts, resume=True)
    assert_same_runs(whole, parts)


def test_a_run_is_not_overwritten(options: Options) -> None:
    train_backbone(options(n_epochs=1))
    with pytest.raises(FolderError, match=r"holds a training already; add --resume"):
        train_backbone(options(n_epochs=1))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": 0.1}, "lr: 0.001 -> 0.1"),
        ({"width": 0.125}, "width: 0.0625 -> 0.125"),
        ({"val_share": 0.5}, "val_share: 0.23 -> 0.5"),
        ({"classes": ["warm", "cold"]}, "classes: "),
        ({"batch_size": 2, "seed": 4}, "(?s)batch_size: 4 -> 2.*seed: 0 -> 4"),
    ],
)
def test_options_that_make_it_another_run_are_refused(
    options: Options, changes: dict[str, Any], says: str
) -> None:
    train_backbone(options(max_images=4))
    with pytest.raises(OptionError, match=says):
        train_backbone(options(**changes), resume=True)


def test_other_options_may_change_and_all_where_allowed(options: Options) -> None:
    train_backbone(options(n_epochs=1))
    longer = options(n_epochs=2, patience=5, print_freq=4)
    assert train_backbone(longer, resume=True).progress.epoch == 3
    faster = options(n_epochs=3, lr=0.01)
    assert train_backbone(faster, resume=True, allow_changes=True).progress.epoch == 4
    rate = state_of(faster)["learner"]["optimizer"]["param_groups"][0]["lr"]
    assert rate in [pytest.approx(0.01 * 0.2**falls) for falls in range(4)]
    with pytest.raises(OptionError, match="keeps its networks, which these change:\n  width: "):
        train_backbone(options(width=0.125), resume=True, allow_changes=True)


# The end.


def test_training_ends_where_the_held_out_loss_no_longer_falls(options: Options) -> None:
    # Steps this small change no digit that counts: the first epoch stays the best, or nearly.
    how = options(n_epochs=50, lr=1e-12, patience=2, batch_norm=False)
    result = train_backbone(how)
    best = int(read_weights(backbone_file(result.directory)).provenance["epoch"])
    assert result.progress.epoch - 1 == best + 2 < 50
    assert result.progress.total_epochs == best + 2
    assert result.progress.total_images == result.progress.images == 20 * (best + 2)
    # It stays over, until more patience is asked for.
    assert train_backbone(how, resume=True).progress.images == result.progress.images
    patient = options(n_epochs=50, lr=1e-12, patience=3, batch_norm=False, max_images=400)
    assert train_backbone(patient, resume=True).progress.images > result.progress.images


def test_no_held_out_picture_can_be_read(options: Options, tmp_path: Path) -> None:
    for name in ("cold", "warm"):
        folder = tmp_path / "val" / name
        folder.mkdir(parents=True)
        (folder / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImpastoError, match="no held-out picture can be read"):
        train_backbone(options(val_folder=str(tmp_path / "val")))


# Where it is watched.


def test_the_page_shows_curves_scores_and_the_hardest_pictures(
    options: Options, parse_page: "Callable[[Path], Page]"
) -> None:
    result = train_backbone(options(display="page"))
    page = parse_page(result.directory / "web" / "index.html")
    text = " ".join(element.text for element in page.find("body"))
    assert "Finished: epoch 3 of 3, image 60 of 60" in text
    for name in ("loss_val", "top1_val", "share of right answers"):
        assert name in text
    shown = [image.attributes["data-name"] for image in page.find("img")]
    # A batch has four pictures.
    assert shown == [
        *(f"hardest_{place}" for place in range(1, 7)),
        *(f"training_{place}" for place in range(1, 5)),
    ]
    for image in page.find("img"):
        file = image.attributes["src"].split("?")[0]
        assert (result.directory / "web" / file).is_file()


class Shown(Observer):
    """Remembers the names of the samples that stand at the end of each epoch."""

    def __init__(self) -> None:
        self.names: dict[int, list[str]] = {}

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        self.names.setdefault(progress.epoch, [])
        self.names[progress.epoch] = sorted({*self.names[progress.epoch], *samples})


def test_all_epochs_have_the_same_samples_or_the_page_passes_over_them(options: Options) -> None:
    shown = Shown()
    # Ends after samples in the middle of the third epoch.
    train_backbone(options(display_freq=8, max_images=48), observers=[shown])
    train_backbone(options(display_freq=8), resume=True, observers=[shown])
    assert list(shown.names) == [1, 2, 3]
    assert shown.names[1] == shown.names[2] == shown.names[3]


def test_impasto_plot_draws_losses_and_scores(options: Options) -> None:
    how = options()
    train_backbone(how)
    (run,) = read_runs([how.run.name], how.run.checkpoints_dir)
    names = choose_losses(["auto"], run.losses)
    assert names == ["loss", "loss_val", "top1", "top1_val"]
    curve = run.curve("top1_val")
    assert curve.images.tolist() == [20, 40, 60]


def test_resuming_with_other_classes_is_refused(options: Options, tmp_path: Path) -> None:
    one = options(max_images=8)
    train_backbone(one)
    (tmp_path / "data" / "warm").rename(tmp_path / "data" / "arid")  # now the first: labels swap
    with pytest.raises(CheckpointError, match=r"cold, warm, and are now arid, cold\. .*allow_ch"):
        train_backbone(options(max_images=16), resume=True)
    train_backbone(options(max_images=16), resume=True, allow_changes=True)
    assert state_of(one)["loader"]["classes"] == ["arid", "cold"]


def test_a_new_class_is_named_and_not_a_shape(options: Options, tmp_path: Path) -> None:
    train_backbone(options(max_images=8))
    shutil.copytree(tmp_path / "data" / "warm", tmp_path / "data" / "hot")
    with pytest.raises(CheckpointError, match="they were cold, warm, and are now cold, hot, warm"):
        train_backbone(options(max_images=16), resume=True)


def test_resuming_tells_that_learned_pictures_are_held_out_now(
    options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_backbone(options(max_images=8))
    caplog.clear()
    train_backbone(options(max_images=12), resume=True)
    assert not caplog.messages
    for name in ("warm", "cold"):
        for index in range(4):  # sorted before all others, so that the draw holds out others
            shutil.copy2(
                tmp_path / "data" / name / "00.png", tmp_path / "data" / name / f"!{index}.png"
            )
    before = {row[0] for row in state_of(options())["loader"]["files"]["to learn from"].tolist()}
    train_backbone(options(max_images=16), resume=True)
    now = {row[0] for row in state_of(options())["loader"]["files"]["held out"].tolist()}
    assert before & now
    changed, held = caplog.messages
    assert changed.startswith("the pictures changed since the state was saved: to learn from: ")
    assert held.startswith(
        f"{len(before & now)} of the pictures that are held out now were learned"
    )
