"""What a training does where its files were damaged, edited or cannot be written."""

import errno
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impasto.cyclegan import train
from impasto.data.loaders import PictureLoader
from impasto.options import (
    CheckpointError,
    FolderError,
    ImpastoError,
    LostProcessError,
    OptionError,
    TrainOptions,
    make,
)
from impasto.options.fields import default_values
from impasto.runs import Observer, Progress, RunDirectory, load_state, loop as loop_module, read_log
from impasto.runs.state import save_state

Options = Callable[..., TrainOptions]


def positions(run: Path) -> list[tuple[int, int]]:
    return [(record["epoch"], record["images"]) for record in read_log(run / "log.jsonl")]


@pytest.mark.parametrize("damage", ["one bit", "half", "missing"])
def test_where_the_last_state_is_damaged_the_one_before_it_is_taken(
    tiny_options: Options, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train(tiny_options(name="whole")).directory
    options = tiny_options(max_images=12)  # saved at 4, 8 and 12
    directory = RunDirectory(train(options).directory)
    good = directory.previous_state_file.read_bytes()
    content = bytearray(directory.state_file.read_bytes())
    if damage == "missing":
        directory.state_file.unlink()
    else:
        content[len(content) // 2] ^= 1
        content = content[: len(content) // 2] if damage == "half" else content
        directory.state_file.write_bytes(content)
    train(tiny_options(max_images=8), resume=True)  # there already: nothing to do but to restore
    (message,) = caplog.messages
    assert f"{directory.state_file}: " in message
    assert "Continuing from the state before it, at image 8" in message
    assert ("state.pt: no such file. " in message) == (damage == "missing")
    assert directory.state_file.read_bytes() == good
    if damage != "missing":
        assert "the damaged one is kept as state.pt.damaged" in message
        assert (directory.path / "state.pt.damaged").read_bytes() == content
    train(tiny_options(), resume=True)
    assert directory.state_file.read_bytes() == (whole / "state.pt").read_bytes()
    assert positions(directory.path) == positions(whole)


def test_where_both_states_are_damaged_both_are_named(tiny_options: Options) -> None:
    options = tiny_options(max_images=8)
    directory = RunDirectory(train(options).directory)
    for file in (directory.state_file, directory.previous_state_file):
        file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged.*state\.previous\.pt: damaged"):
        train(options, resume=True)


def test_a_full_disk_takes_the_place_of_the_state_before(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = RunDirectory(Path(tiny_options().run.checkpoints_dir) / "tiny")

    def save_where_there_is_space(path: Path, state: Any, *, previous: Path) -> None:
        if previous.is_file():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save_state(path, state, previous=previous)

    monkeypatch.setattr(loop_module, "save_state", save_where_there_is_space)
    train(tiny_options(max_images=12))
    assert caplog.messages == [f"{directory.path}: the disk is full; state.previous.pt is removed"]
    assert load_state(directory.state_file)["progress"]["images"] == 12


class Break:
    """Lets the n-th wait for pictures fail; the first is that for the start of the epoch."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, number: int, error: Exception, *, asked: bool = False
    ) -> None:
        wait = PictureLoader._waited

        def waited(loader: Any, get: Any) -> Any:
            nonlocal number
            number -= 1
            if number == 0:
                if asked:
                    signal.raise_signal(signal.SIGTERM)
                raise error
            return wait(loader, get)

        monkeypatch.setattr(PictureLoader, "_waited", waited)


LOST = LostProcessError("a process that loads pictures gave none")


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_where_loading_fails_all_whole_steps_are_saved(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch, steps: int, asked: bool
) -> None:
    # Of seven pictures, the sixth does not come: two wait for it where a step takes three.
    changes: dict[str, Any] = {"gradient_accumulation_steps": steps, "save_latest_freq": 1000}
    whole = train(tiny_options(name="whole", **changes)).directory
    options = tiny_options(**changes)
    directory = RunDirectory(options.run.checkpoints_dir / "tiny")
    done = 5 if steps == 1 else 3
    Break(monkeypatch, 7, LOST, asked=asked)
    if asked:
        result = train(options)
        assert (result.signal, result.progress.images) == (signal.SIGTERM, done)
    else:
        with pytest.raises(LostProcessError, match=f"The last good state, at image {done}, is"):
            train(options)
    assert load_state(directory.state_file)["progress"]["images"] == done
    train(options, resume=True)
    assert directory.state_file.read_bytes() == (whole / "state.pt").read_bytes()


def test_where_pictures_are_gone_the_steps_are_saved(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tiny_options(save_latest_freq=1000)
    Break(monkeypatch, 7, FolderError(Path("data"), "none of its pictures can be read"))
    with pytest.raises(FolderError, match="none of its pictures"):
        train(options)
    state = load_state(options.run.checkpoints_dir / "tiny" / "state.pt")
    assert state["progress"]["images"] == 5


@pytest.mark.parametrize("before", [0, 4])
def test_nothing_is_called_saved_that_is_not(
    tiny_options: Options,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    before: int,
) -> None:
    def fill(path: Path, _state: Any, *, previous: Path) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    if before:
        train(tiny_options(max_images=before))
    monkeypatch.setattr(loop_module, "save_state", fill)
    Break(monkeypatch, 3, LOST, asked=True)
    kept = "The last good state, at image 4, is kept" if before else "No state was saved before"
    with pytest.raises(LostProcessError, match=f"gave none. {kept}"):
        train(tiny_options(save_latest_freq=1000), resume=bool(before))
    assert "tiny: cannot save (No space left on device)" in caplog.text


def test_a_full_disk_never_takes_the_only_state(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without hard links moves the last state, and fills up before the next is whole."""
    directory = RunDirectory(train(tiny_options(max_images=4)).directory)

    def fill(path: Path, _state: Any, *, previous: Path) -> None:
        if path.is_file():
            path.replace(previous)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(loop_module, "save_state", fill)
    with pytest.raises(ImpastoError, match="cannot save"):
        train(tiny_options(), resume=True)
    monkeypatch.undo()
    assert load_state(directory.previous_state_file)["progress"]["images"] == 4
    assert train(tiny_options(), resume=True).progress.images == 21


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text.replace("lr: 0.0002", "lr: 0.0009"), "lr: 0.0002 -> 0.0009"),
        (lambda text: text.replace("lambda_A: 7.0\n", ""), "lambda_A: 7.0 -> 10.0"),
    ],
)
def test_edited_options_do_not_make_it_another_run(
    tiny_options: Options,
    edit: Callable[[str], str],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = RunDirectory(train(tiny_options(max_images=4, lambda_A=7.0)).directory)
    text = directory.options_file.read_text(encoding="utf-8")
    directory.options_file.write_text(edit(text), encoding="utf-8")
    assert edit(text) != text
    stored = {**default_values(TrainOptions), **directory.read_options(), "max_images": 6}
    with pytest.raises(OptionError, match=re.escape(says)) as caught:
        train(make(TrainOptions, stored), resume=True)
    assert (
        f"options.yaml was changed since the training was saved: {says.partition(':')[0]}"
        in str(caught.value)
    )
    assert not caplog.messages
    train(make(TrainOptions, stored), resume=True, allow_changes=True)
    assert says in caplog.messages[0]
    caplog.clear()
    train(make(TrainOptions, {**stored, "max_images": 8}), resume=True)  # the state's, from now on
    assert not caplog.messages


def test_equal_trainings_write_equal_bytes(tiny_options: Options) -> None:
    whole = train(tiny_options(name="whole", save_latest_freq=12)).directory
    train(tiny_options(name="parts", max_images=5))
    parts = train(tiny_options(name="parts"), resume=True).directory
    files = [path for path in whole.iterdir() if path.suffix in (".pt", ".pth", ".safetensors")]
    assert len(files) == 12
    for path in files:
        if path.name != "state.previous.pt":
            assert path.read_bytes() == (parts / path.name).read_bytes(), path.name


class Remover(Observer):
    """Removes the folder of the run once a state is saved, as somebody who tidies up does."""

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("display", ["console", "page"])
def test_a_run_whose_folder_is_removed_does_not_claim_to_keep_its_state(
    tiny_options: Options, display: str
) -> None:
    options = tiny_options(display=display)
    with pytest.raises(ImpastoError) as caught:
        train(options, observers=[Remover()])
    assert not (options.run.checkpoints_dir / options.run.name).exists()
    message = str(caught.value)
    assert "cannot save (No such file or directory)" in message
    assert "The state that was saved at image 4 is gone" in message
    assert "is kept" not in message
