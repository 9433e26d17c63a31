import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from impasto.options import CheckpointError, FolderError, ImpastoError, OptionError
from impasto.runs import RunDirectory, load_state, make_generator, pick_device, save_state
from impasto.runs.directory import lock_folder, take_lock
from impasto.runs.state import random_state, restore_random_state


def test_holding_the_run_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "checkpoints" / "x")
    directory.create()
    assert directory.web.is_dir()
    leftovers = [folder / ".impasto-abc.tmp" for folder in (directory.path, directory.web)]
    for leftover in leftovers:
        leftover.write_text("half")
    with directory.locked():
        assert not any(leftover.exists() for leftover in leftovers)
        leftovers[0].write_text("being written")
        with pytest.raises(ImpastoError, match="another process"), directory.locked():
            pass
        assert leftovers[0].exists()


def test_relative_paths_of_a_run_are_those_where_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    (project / "data" / "val").mkdir(parents=True)
    (project / "backbones" / "mine").mkdir(parents=True)
    (project / "lite").mkdir()  # and the name of a network
    stored = {
        "checkpoints_dir": "runs",
        "name": "a",
        "dataroot": "data",
        "folder_A": None,
        "folder_B": 5,  # someone's edit, which is told when options are made
        "val_folder": "data/gone",
        "perceptual_backbone": "backbones/mine",
    }
    directory = RunDirectory(Path("project/runs/a"))
    assert directory.started_in(stored) == project
    seen = directory.seen_from_here(stored)
    found = {
        "dataroot": str(project / "data"),
        "val_folder": str(project / "data" / "gone"),  # so that this is what is said to be gone
        "perceptual_backbone": str(project / "backbones" / "mine"),
    }
    assert seen == {**stored, **found}
    assert directory.as_started(stored, {**seen, "checkpoints_dir": "project/runs"}) == stored
    (tmp_path / "data" / "gone").mkdir(parents=True)
    assert directory.seen_from_here(stored)["val_folder"] == "data/gone"
    named = directory.seen_from_here({**stored, "perceptual_backbone": "lite"})
    assert named["perceptual_backbone"] == "lite"
    chosen = directory.as_started(stored, {**seen, "val_folder": "other"})
    assert chosen["val_folder"] == str(tmp_path / "other")
    # Where it was started, all is as it was; a place that is absolute does not tell where that was.
    monkeypatch.chdir(project)
    assert RunDirectory(Path("runs/a")).seen_from_here(stored) == stored
    for place in (str(project / "runs"), "../project/runs"):
        unknown = {**stored, "checkpoints_dir": place}
        assert RunDirectory(project / "runs" / "a").started_in(unknown) is None
    assert (
        RunDirectory(Path("../project/runs/a")).started_in(
            {**stored, "checkpoints_dir": "../project/runs"}
        )
        == project
    )


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints"
    file.write_text("in the way")
    with pytest.raises(FolderError, match="cannot be written"):
        RunDirectory(file / "x").create()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no run"),
        (b"- a\n- b\n", r"options\.yaml, line 1: expected lines such as NAME: VALUE, got - a - b"),
        (b"a: 1\nb: [", r"options\.yaml, line 2: expected YAML with lines NAME: VALUE; [^\n]*$"),
        (b"a: 1\nb: !!python/object:os.system 1\n", r"options\.yaml, line 2: expected a number, a"),
        (b"lr: 1\nlr: 2\n", r"options\.yaml, line 2: stands in line 1, too"),
        (b"\xff\xfe", r"options\.yaml: the file is not text"),
    ],
)
def test_damaged_options_are_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    directory = RunDirectory(tmp_path)
    if content is not None:
        directory.options_file.write_bytes(content)
    with pytest.raises(FolderError, match=says):
        directory.read_options()


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with directory.locked():
        with pytest.raises(ImpastoError, match="another process"), directory.locked():
            pass
        with directory.locked(write=False):  # a second process of the same training
            pass
    with directory.locked():
        pass


def test_any_folder_can_be_locked(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "results"
    with lock_folder(folder, "busy; wait"):
        with (
            pytest.raises(ImpastoError, match=r"results: busy; wait$"),
            lock_folder(folder, "busy; wait"),
        ):
            pass
        with lock_folder(tmp_path, "busy"):
            pass
    with lock_folder(folder, "busy; wait"):
        assert [path.name for path in folder.iterdir()] == [".lock"]
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be written"), lock_folder(tmp_path / "file", ""):
        pass


def test_where_there_are_no_locks_there_is_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.runs.directory.os", SimpleNamespace(name="nt"))
    assert take_lock(-1)


def test_a_fresh_start_keeps_what_is_not_ours(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    for name in ("state.pt", "log.jsonl", "5_net_G_A.pth", "G_A.safetensors", "notes.txt"):
        (tmp_path / name).write_text("x")
    directory.start_afresh()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_state_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"a": torch.arange(3), "b": {"c": [1, 2.5, "x", None]}})
    loaded = load_state(path)
    assert torch.equal(loaded["a"], torch.arange(3))
    assert loaded["b"] == {"c": [1, 2.5, "x", None]}
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


class Danger:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch danger",)


def test_a_state_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"version": 1, "x": Danger()}, "state.pt")
    with pytest.raises(
        CheckpointError, match=r"state\.pt: holds more than tensors, so it is not loaded"
    ):
        load_state(Path("state.pt"))
    assert not Path("danger").exists()


@pytest.mark.parametrize("content", [{"version": 99}, [1, 2]])
def test_a_state_of_another_version_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="expected a state of version 1"):
        load_state(tmp_path / "state.pt")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half a zip"])
def test_damaged_states_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
        load_state(path)


def test_a_missing_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        load_state(tmp_path / "state.pt")


def test_generators_are_one_for_each_purpose() -> None:
    def first(seed: int, purpose: str, process: int = 0) -> float:
        generator = make_generator(seed, purpose, process=process)
        return float(torch.rand((), generator=generator))

    assert first(1, "a") == first(1, "a")
    assert len({first(1, "a"), first(2, "a"), first(1, "b"), first(1, "a", 1)}) == 4


def test_random_state_round_trip() -> None:
    state = random_state()
    expected = torch.rand(3)
    restore_random_state(state)
    assert torch.equal(torch.rand(3), expected)


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in {"cpu", "cuda", "mps"}
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="--device: cuda is not available here"):
            pick_device("cuda")
