"""Whole trainings of seconds: files, resuming, stopping, and what goes wrong."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from impasto.cyclegan import load_generator, train
from impasto.cyclegan.jobs import train as train_module
from impasto.cyclegan.models import find_generator
from impasto.data import loaders
from impasto.options import (
    CheckpointError,
    FolderError,
    ImpastoError,
    LostProcessError,
    OptionError,
    TrainingError,
    TrainOptions,
    flatten,
    make,
)
from impasto.runs import Doctor, Observer, Pictures, Progress, RunDirectory, load_state, read_log

Options = Callable[..., TrainOptions]


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


def state_of(options: TrainOptions) -> dict[str, Any]:
    return load_state(options.run.checkpoints_dir / options.run.name / "state.pt")


def records(options: TrainOptions) -> list[dict[str, Any]]:
    log = read_log(options.run.checkpoints_dir / options.run.name / "log.jsonl")
    timed = {"seconds", "data_wait", "images_per_second"}
    return [{key: record[key] for key in record if key not in timed} for record in log]


class Killer(Observer):
    """Sends this process a signal after a number of steps."""

    def __init__(self, after: int, number: signal.Signals) -> None:
        self.after, self.number = after, number

    def on_step(self, progress: Progress) -> None:
        if progress.steps == self.after:
            os.kill(os.getpid(), self.number)


def test_a_run_directory_holds_what_the_design_says(tiny_options: Options) -> None:
    options = tiny_options()
    result = train(options)
    assert result.signal is None
    assert (result.progress.images, result.progress.epoch) == (21, 4)  # 3 epochs of 7 pictures
    names = {path.name for path in result.directory.iterdir()}
    networks = {f"{e}_net_{n}.pth" for e in ("latest", 2) for n in ("G_A", "G_B", "D_A", "D_B")}
    expected = {"options.yaml", "log.jsonl", "G_A.safetensors", "G_B.safetensors"}
    states = {"state.pt", "state.previous.pt"}
    assert names == networks | expected | states | {"web", ".lock"}
    stored = yaml.safe_load((result.directory / "options.yaml").read_text(encoding="utf-8"))
    assert make(TrainOptions, stored) == options
    loaded = load_generator(result.directory / "G_B.safetensors")
    assert loaded.provenance["direction"] == "BtoA"
    assert loaded.provenance["images"] == "21"
    assert loaded.grid_bend_px == 0
    theirs = torch.load(result.directory / "latest_net_G_B.pth", weights_only=True)
    assert_same(dict(loaded.network.state_dict()), dict(theirs))


def test_log_and_samples(tiny_options: Options) -> None:
    options = tiny_options()
    directory = train(options).directory
    log = read_log(directory / "log.jsonl")
    assert [record["images"] for record in log] == [3, 6, 9, 12, 15, 18, 21]
    assert [record["epoch"] for record in log] == [1, 1, 2, 2, 3, 3, 3]
    assert set(log[0]["losses"]) == {
        *("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
    }
    assert log[0]["learning_rate"] == 2e-4
    assert log[-1]["learning_rate"] == pytest.approx(1e-4)  # the one epoch of decay
    assert 0 <= log[0]["data_wait"] <= 1
    pictures = {path.name for path in (directory / "web" / "images").iterdir()}
    assert {"epoch001_real_A.png", "epoch001_fake_B.png", "epoch003_idt_A.png"} <= pictures


RICH = {
    "dropout": True,
    "ema_decay": 0.99,
    "gan_mode": "wgangp",
    "batch_size": 2,
    "gradient_accumulation_steps": 2,
    "lr_policy": "plateau",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "stop_at"),
    [
        ({}, 1),
        ({}, 5),  # in the middle of the first epoch, beyond a full pool
        ({}, 7),  # at its very end
        ({}, 8),
        ({}, 20),
        ({"num_threads": 2}, 10),  # workers have read ahead
        (RICH, 8),
        (RICH, 12),
        ({"gradient_accumulation_steps": 2}, 7),  # the last step of the epoch has one batch
        ({"gradient_accumulation_steps": 2}, 13),
        ({"dropout": True, "norm": "batch", "batch_size": 3}, 12),
        ({"mixed_precision": "bf16", "lr_policy": "cosine"}, 9),
        ({"diffaugment": ["color", "translation", "cutout"], "ema_decay": 0.99}, 10),
        ({"norm": "layer", "upsample": "bilinear", "color_skip": True, "lambda_palette": 2}, 11),
        ({"batch_size_D": 3}, 11),
    ],
)
def test_resumed_equals_uninterrupted(
    tiny_options: Options, changes: dict[str, Any], stop_at: int
) -> None:
    whole = tiny_options(name="whole", **changes)
    train(whole)
    stopped = train(tiny_options(name="parts", max_images=stop_at, **changes))
    assert stopped.progress.images < 21 + 3
    parts = tiny_options(name="parts", **changes)
    train(parts, resume=True)
    assert_same(state_of(whole), state_of(parts))
    assert records(whole) == records(parts)


class Shown(Observer):
    """Remembers the samples, and how the training ended."""

    def __init__(self) -> None:
        self.samples: list[Pictures] = []
        self.error: str | None = None

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        self.samples.append(samples)

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        self.error = error


@pytest.mark.parametrize("kind", ["fixed", "batch"])
def test_samples_are_of_the_same_pictures_or_of_the_batch(tiny_options: Options, kind: str) -> None:
    shown = Shown()
    options = tiny_options(display_samples=kind, display_freq=3, display="none")
    train(options, observers=[shown])
    assert len(shown.samples) == 7
    names = ["real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A"]
    assert list(shown.samples[0]) == names
    same = [
        np.array_equal(one["real_A"], other["real_A"]) for one, other in pairwise(shown.samples)
    ]
    assert all(same) == (kind == "fixed")
    fakes = [np.array_equal(a["fake_B"], b["fake_B"]) for a, b in pairwise(shown.samples)]
    assert not any(fakes)
    web = options.run.checkpoints_dir / options.run.name / "web"
    assert not list(web.iterdir())


@pytest.mark.slow
def test_what_is_shown_changes_no_weight(tiny_options: Options) -> None:
    # Dropout and batch normalization would show a number drawn, or a mean moved, by a sample.
    how: dict[str, Any] = {"norm": "batch", "dropout": True, "num_threads": 2}
    train(tiny_options(name="none", display="none", display_freq=1000, print_freq=1000, **how))
    train(tiny_options(name="much", display="console,page", display_freq=1, print_freq=1, **how))
    none, much = state_of(tiny_options(name="none")), state_of(tiny_options(name="much"))
    for state in (none, much):
        del state["processes"][0]["meter"]  # the losses since the last report
    assert_same(none, much)


def replace_limit(options: TrainOptions, max_images: int) -> TrainOptions:
    return make(TrainOptions, {**flatten(options), "max_images": max_images})


def test_a_doctor_that_fails_is_dismissed(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Quack(Doctor):
        def examine(self, record: Mapping[str, Any]) -> list[str]:
            raise KeyError("losses")

    monkeypatch.setattr(train_module, "build_doctor", lambda _: Quack())
    assert train(tiny_options(display="none")).signal is None
    said = "the search for known failures failed and is switched off: KeyError('losses')"
    assert caplog.messages == [said]


class WorkerKiller(Observer):
    """Kills a process that loads pictures, as the system does where memory ends."""

    def on_step(self, progress: Progress) -> None:
        if progress.steps == 5:
            (child, *_) = multiprocessing.active_children()
            child.kill()
            child.join()


def test_a_killed_loading_process_is_named(tiny_options: Options) -> None:
    shown = Shown()
    options = tiny_options(num_threads=1, n_epochs=100)
    with pytest.raises(LostProcessError) as caught:
        train(options, observers=[shown, WorkerKiller()])
    assert str(caught.value).startswith("a process that loads pictures was killed")
    assert "--num_threads" in str(caught.value)
    assert "The last good state, at image 5, is kept" in str(caught.value)
    assert shown.error == str(caught.value)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert train(replace_limit(options, 9), resume=True).progress.images == 9


class WorkerStopper(Observer):
    """Stops all processes that load pictures, and asks for the end of the training."""

    def on_step(self, progress: Progress) -> None:
        if progress.steps == 5:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGSTOP)
            signal.raise_signal(signal.SIGTERM)


def test_sigterm_ends_a_training_whose_loading_processes_hang(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders, "_ASKED_PATIENCE_SECONDS", 1.0)
    whole, options = tiny_options(name="whole"), tiny_options(name="parts", num_threads=1)
    result = train(options, observers=[WorkerStopper()])
    assert result.signal == signal.SIGTERM
    assert state_of(options)["progress"]["images"] == result.progress.images >= 5
    train(whole)
    assert train(options, resume=True).signal is None
    assert_same(state_of(whole), state_of(options))


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("16k", "cannot be started (No space left on device); is there enough shared memory"),
        ("64k", "had too little shared memory (/dev/shm); in a container"),
    ],
)
def test_little_shared_memory_is_named_and_ends_the_training(
    tiny_options: Options, mount_disk: Callable[[str], Path], size: str, says: str
) -> None:
    mount_disk("64k")  # skips without the right to
    options = tiny_options(num_threads=2, batch_size=4)  # a batch of 2 x 4 x 3 x 24 x 24 x 4 bytes
    text = yaml.safe_dump(flatten(options))
    recipe = options.run.checkpoints_dir.with_name("options.yaml")
    recipe.write_text(text, encoding="utf-8")
    shell = (
        f"mount -t tmpfs -o size={size} tmpfs /dev/shm && exec {sys.executable} -m impasto train"
    )
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{shell} --config {recipe}"],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert says in ended.stderr
    assert "--num_threads 0" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_the_rest_can_follow(
    tiny_options: Options, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tiny_options(name="whole"), tiny_options(name="parts")
    train(whole)
    result = train(parts, observers=[Killer(5, number)])
    assert result.signal == number
    assert state_of(parts)["progress"]["images"] == result.progress.images == 5
    assert f"{number.name}: saving" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert train(parts, resume=True).signal is None
    assert_same(state_of(whole), state_of(parts))


def test_a_stopped_training_shows_what_it_has_come_to(tiny_options: Options) -> None:
    shown, options = Shown(), tiny_options(display_freq=1000, display="page")
    train(options, observers=[Killer(3, signal.SIGTERM), shown])
    assert len(shown.samples) == 1
    assert shown.error is None
    web = options.run.checkpoints_dir / options.run.name / "web"
    assert [path for path in web.rglob("*fake_B*") if path.is_file()]
    # What was shown at that very image is not made twice.
    again, options = Shown(), tiny_options(name="again", display_freq=3, display="none")
    train(options, observers=[Killer(3, signal.SIGTERM), again])
    assert len(again.samples) == 1


def test_a_second_signal_while_samples_are_shown_calls_nothing_lost(tiny_options: Options) -> None:
    class Again(Shown):
        def on_samples(self, progress: Progress, samples: Pictures) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    shown, options = Again(), tiny_options(display_freq=1000, display="none")
    with pytest.raises(KeyboardInterrupt):
        train(options, observers=[Killer(3, signal.SIGTERM), shown])
    assert shown.error is None
    assert state_of(options)["progress"]["images"] == 3


def test_a_second_ctrl_c_stops_at_once(tiny_options: Options) -> None:
    twice = [Killer(2, signal.SIGINT), Killer(2, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        train(tiny_options(), observers=twice)


def test_resuming_with_other_options_is_refused_with_a_diff(tiny_options: Options) -> None:
    train(tiny_options(max_images=4))
    with pytest.raises(OptionError) as caught:
        train(tiny_options(lr=0.5, ngf=3), resume=True)
    assert "lr: 0.0002 -> 0.5" in str(caught.value)
    assert "ngf: 2 -> 3" in str(caught.value)
    assert "--allow_changes" in str(caught.value)
    train(tiny_options(lr=1e-5), resume=True, allow_changes=True)


@pytest.mark.parametrize(
    "changes",
    [
        *({"netG": "resnet_9blocks"}, {"netD": "pixel"}, {"ngf": 3}, {"ndf": 3}),
        *({"n_layers_D": 2}, {"norm": "batch"}, {"upsample": "resize"}, {"color_skip": True}),
        {"dropout": True},
    ],
)
def test_other_networks_are_refused_at_once_even_where_changes_are_allowed(
    tiny_options: Options, changes: dict[str, Any]
) -> None:
    options = tiny_options(netD="n_layers", n_layers_D=1, max_images=1)
    RunDirectory(options.run.checkpoints_dir / "tiny").create()
    RunDirectory(options.run.checkpoints_dir / "tiny").write_options(flatten(options))
    other = make(TrainOptions, {**flatten(options), "lr": 0.5, **changes})
    with pytest.raises(OptionError) as caught:
        train(other, resume=True, allow_changes=True)
    (name,) = changes
    assert caught.value.option == name
    assert "keeps its networks" in str(caught.value)
    assert "and these need --allow_changes:\n  lr: 0.0002 -> 0.5" in str(caught.value)
    assert "add --allow_changes" not in str(caught.value)


def test_options_newer_than_a_run_count_as_their_defaults(tiny_options: Options) -> None:
    options = tiny_options(max_images=4)
    train(options)
    file = options.run.checkpoints_dir / options.run.name / "options.yaml"
    stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    del stored["lambda_perceptual"], stored["upsample"]
    file.write_text(yaml.safe_dump(stored), encoding="utf-8")
    with pytest.raises(OptionError, match="upsample: deconv -> resize"):
        train(tiny_options(max_images=5, upsample="resize"), resume=True)
    train(tiny_options(max_images=5), resume=True)


def test_changes_that_are_allowed_happen(tiny_options: Options) -> None:
    train(tiny_options(max_images=4))
    changes = {"beta1": 0.9, "lr_policy": "plateau", "lr": 1e-5, "ema_decay": 0.9}
    train(tiny_options(max_images=5, **changes), resume=True, allow_changes=True)
    state = state_of(tiny_options())["learner"]
    assert state["optimizer_G"]["param_groups"][0]["betas"] == (0.9, 0.999)
    assert state["optimizer_G"]["param_groups"][0]["lr"] == pytest.approx(1e-5)
    assert [average["steps"] for average in state["averages"]] == [1, 1]
    assert len(state["learning_rate"]["plateaus"]) == 2
    # And back again.
    train(tiny_options(max_images=6), resume=True, allow_changes=True)
    assert state_of(tiny_options())["learner"]["averages"] == []


def test_another_batch_size_goes_on_with_whole_batches(tiny_options: Options) -> None:
    train(tiny_options(max_images=3))
    result = train(tiny_options(batch_size=2), resume=True, allow_changes=True)
    assert result.progress.epoch == 4


def test_the_device_may_change_between_two_trainings(tiny_options: Options) -> None:
    train(tiny_options(name="one", max_images=1, mixed_precision="bf16"))
    train(tiny_options(name="two", max_images=1, device="auto"))


def test_decay_may_be_extended_but_not_cut(tiny_options: Options) -> None:
    short = train(tiny_options())
    assert short.progress.total_images == 21
    longer = train(tiny_options(n_epochs_decay=3), resume=True)
    assert (longer.progress.images, longer.progress.epoch) == (35, 6)
    rates = {record["epoch"]: record["learning_rate"] for record in records(tiny_options())}
    assert rates[4] == pytest.approx(2e-4 * (1 - 2 / 4))
    assert rates[5] == pytest.approx(2e-4 * (1 - 3 / 4))
    with pytest.raises(OptionError, match="n_epochs_decay: 3 -> 1"):
        train(tiny_options(), resume=True)


def test_a_finished_run_is_left_alone(tiny_options: Options) -> None:
    options = tiny_options()
    train(options)
    before = state_of(options)
    assert train(options, resume=True).progress.images == 21
    assert_same(before, state_of(options))


def test_an_existing_run_is_not_overwritten(tiny_options: Options) -> None:
    options = tiny_options(max_images=4)
    train(options)
    with pytest.raises(FolderError, match="holds a training already; add --resume"):
        train(options)


def test_there_must_be_something_to_resume(tiny_options: Options) -> None:
    with pytest.raises(FolderError, match="tiny: no such run in "):
        train(tiny_options(), resume=True)


def test_a_damaged_state_is_named(tiny_options: Options) -> None:
    options = tiny_options(max_images=4)
    state = train(options).directory / "state.pt"
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
        train(options, resume=True)


def test_only_one_process_trains_a_run(tiny_options: Options) -> None:
    options = tiny_options()
    directory = RunDirectory(options.run.checkpoints_dir / options.run.name)
    directory.create()
    with directory.locked(), pytest.raises(ImpastoError, match="another process is training"):
        train(options)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    tiny_options: Options,
) -> None:
    good = tiny_options(max_images=4)
    train(good)
    before = state_of(good)
    with pytest.raises(TrainingError) as caught:
        train(tiny_options(lr=1e30), resume=True, allow_changes=True)
    message = str(caught.value)
    assert "not a finite number at step 6" in message or "no longer finite" in message
    assert "The last good state, at image 4, is kept" in message
    assert_same(before, state_of(good))


def test_not_finite_from_the_start_says_so(tiny_options: Options) -> None:
    with pytest.raises(TrainingError, match="No state was saved before"):
        train(tiny_options(lr=1e30))


def test_unreadable_pictures_are_passed_over(
    tiny_options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    options = tiny_options(max_images=14)
    bad = options.data.dataroot / "trainA" / "02.png"
    bad.write_bytes(b"no picture")
    result = train(options)
    assert list(result.unreadable) == [bad]
    assert caplog.text.count(str(bad)) == 1


def test_a_domain_without_readable_pictures_is_named(tiny_options: Options) -> None:
    options = tiny_options()
    for path in (options.data.dataroot / "trainB").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(FolderError, match="trainB: none of its pictures can be read"):
        train(options)


@pytest.mark.parametrize(("folder", "says"), [("trainA", "trainA"), ("trainB", "trainB")])
def test_empty_and_missing_folders_are_named(tiny_options: Options, folder: str, says: str) -> None:
    options = tiny_options()
    emptied = options.data.dataroot / folder
    for path in emptied.iterdir():
        path.unlink()
    with pytest.raises(FolderError, match=says):
        train(options)
    emptied.rmdir()
    with pytest.raises(FolderError, match=says):
        train(options)


def test_averaged_weights_are_what_is_exported(tiny_options: Options) -> None:
    directory = train(tiny_options(ema_decay=0.9, max_images=4)).directory
    averaged = torch.load(directory / "latest_net_G_A_ema.pth", weights_only=True)
    last = torch.load(directory / "latest_net_G_A.pth", weights_only=True)
    exported = load_generator(directory / "G_A.safetensors")
    assert exported.provenance["weights"] == "averaged"
    assert_same(dict(exported.network.state_dict()), dict(averaged))
    assert not torch.equal(averaged["model.1.weight"], last["model.1.weight"])


def test_sizes_may_differ_without_cropping(
    tiny_options: Options, picture_folder: Callable[..., Path]
) -> None:
    options = tiny_options(preprocess="none", max_images=3)
    picture_folder("data/trainA", count=2, size=(41, 67))
    assert train(options).progress.images == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "preprocess", ["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]
)
def test_slivers_and_single_pixels_can_be_trained_on(
    tiny_options: Options, picture_folder: Callable[..., Path], preprocess: str
) -> None:
    sizes = ((1, 1), (3, 5000), (5000, 3), (8, 8))  # all smaller than the crop
    for index, size in enumerate(sizes):
        picture_folder(f"odd{index}", count=1, size=size, seed=index)
    mixed = picture_folder("mixed/x", count=1)
    for index in range(len(sizes)):
        (mixed.parent / f"odd{index}.png").write_bytes(
            (mixed.parents[1] / f"odd{index}" / "00.png").read_bytes()
        )
    options = tiny_options(
        preprocess=preprocess, folder_A=str(mixed.parent), folder_B=str(mixed.parent), max_images=5
    )
    result = train(options)
    assert result.progress.images == 5
    assert not result.unreadable


def test_a_log_cut_short_by_a_kill_is_mended(tiny_options: Options) -> None:
    options = tiny_options(max_images=8)
    log = train(options).directory / "log.jsonl"
    beyond = json.dumps({"images": 9, "losses": {}})
    log.write_text(log.read_text(encoding="utf-8") + beyond + '\n{"images": 1', encoding="utf-8")
    train(tiny_options(), resume=True)
    assert [record["images"] for record in read_log(log)] == [3, 6, 9, 12, 15, 18, 21]


def test_the_same_seed_gives_the_same_weights_and_another_others(tiny_options: Options) -> None:
    states = []
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        options = tiny_options(name=name, seed=seed, max_images=4)
        train(options)
        states.append(state_of(options)["learner"]["networks"]["G_A"])
    assert_same(dict(states[0]), dict(states[1]))
    assert not torch.equal(states[0]["model.1.weight"], states[2]["model.1.weight"])


def test_flat_options_survive_the_round_trip(tiny_options: Options) -> None:
    options = tiny_options(lr=3e-5)
    directory = RunDirectory(options.run.checkpoints_dir / "x")
    directory.create()
    directory.write_options(flatten(options))
    assert directory.read_options() == flatten(options)


def test_generators_say_how_far_pictures_shall_be_bent_for_them(tiny_options: Options) -> None:
    result = train(tiny_options(grid_bend_px=2.5, max_images=3))
    assert load_generator(result.directory / "G_A.safetensors").grid_bend_px == 2.5
    (result.directory / "G_A.safetensors").unlink()
    assert find_generator(result.directory).grid_bend_px == 2.5  # its .pth, and options.yaml


def test_generators_say_for_which_size_their_strokes_are_right(tiny_options: Options) -> None:
    result = train(tiny_options(strokes_at_px=384.5, max_images=3))
    assert load_generator(result.directory / "G_B.safetensors").strokes_at_px == 384.5
    (result.directory / "G_B.safetensors").unlink()
    assert find_generator(result.directory, direction="BtoA").strokes_at_px == 384.5
    # It does not alter the training, so that it can be said later.
    train(tiny_options(strokes_at_px=512, max_images=4), resume=True)
    assert load_generator(result.directory / "G_B.safetensors").strokes_at_px == 512


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: [], ""),
        (lambda f: sorted(f[0].iterdir())[0].unlink(), "A: 1 removed (of 5 before, 4 now)"),
        (
            lambda f: [path.rename(path.with_name("x" + path.name)) for path in f[1].iterdir()],
            "B: 7 renamed (of 7 before, 7 now)",
        ),
        (lambda f: [f[0].rename("x"), f[1].rename(f[0]), Path("x").rename(f[1])], "swapped"),
    ],
)
def test_resuming_tells_that_the_pictures_changed(
    tiny_options: Options,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[tuple[Path, Path]], object],
    says: str,
) -> None:
    options = tiny_options(max_images=3)
    train(options)
    monkeypatch.chdir(options.data.folders[0].parent)
    change(options.data.folders)
    caplog.clear()
    train(replace_limit(options, 5), resume=True)
    told = [text for text in caplog.messages if text.startswith("the pictures changed")]
    assert len(told) == bool(says)
    assert all(says in text for text in told)
    caplog.clear()
    train(replace_limit(options, 6), resume=True)  # told once: the new state knows
    assert not [text for text in caplog.messages if "pictures changed" in text]
