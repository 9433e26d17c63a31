"""Handing out pictures to workers that are lost, by a Ray that is played: what, when, is given."""

import json
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.cluster import job
from impasto.cyclegan.cluster.job import TRIES, Crew, crew_for
from impasto.cyclegan.jobs.making import Task
from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.cyclegan.weights import save_generator
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.translate import TranslateOptions
from tests.translating import translate


class LostError(Exception):
    """What Ray raises where a worker is lost."""


def sent(what: Any) -> Any:
    """What arrives where something is sent."""
    return pickle.loads(pickle.dumps(what))  # noqa: S301 - our own


class PlayedRay:
    """Does what workers are told, in this process, one after another.

    ``dies`` is asked before a worker makes something: how many of the pictures it finishes before
    it is lost; None: it lives. What it is told and what it reports is pickled, as Ray does it.
    """

    exceptions = SimpleNamespace(RayError=LostError)

    def __init__(self, dies: Callable[[list[str]], int | None]) -> None:
        self.dies = dies
        self.given: list[list[str]] = []
        self.killed: list[Any] = []
        self.before_start: Callable[[], None] = lambda: None
        self.interrupted_after = sys.maxsize

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {}}]

    def remote(self, kind: Callable[..., Any]) -> Any:
        def hire(*told: Any) -> Any:
            worker = kind(*sent(told))
            start = SimpleNamespace(remote=lambda: self._start(worker))
            make = SimpleNamespace(remote=lambda tasks: self._make(worker, tasks))
            return SimpleNamespace(start=start, make=make, worker=worker)

        return SimpleNamespace(options=lambda **_options: SimpleNamespace(remote=hire))

    def _start(self, worker: Any) -> Callable[[], Any]:
        def start() -> Any:
            self.before_start()
            return worker.start()

        return start

    def _make(self, worker: Any, tasks: Sequence[Task]) -> Callable[[], Any]:
        def make() -> Any:
            names = [task.job.source.name for task in tasks]
            self.given.append(names)
            finished = self.dies(names)
            told = sent(tasks)
            if finished is not None:
                worker.make(told[:finished])
                raise LostError("The actor is dead because its process has died. Worker exit type:")
            return sent(worker.make(told))

        return make

    def wait(self, references: list[Any], **_options: Any) -> tuple[list[Any], list[Any]]:
        if len(self.given) >= self.interrupted_after:
            raise KeyboardInterrupt
        return references[:1], references[1:]

    def get(self, reference: Callable[[], Any]) -> Any:
        return reference()

    def kill(self, actor: Any, *, no_restart: bool) -> None:
        assert no_restart
        self.killed.append(actor)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny generator."""
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    torch.manual_seed(0)
    file = tmp_path / "model.safetensors"
    save_generator(file, architecture.build().state_dict(), architecture, {"direction": "AtoB"})
    return file


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., PlayedRay]:
    """Return a function that puts a played Ray in the place of Ray."""

    def put(dies: Callable[[list[str]], int | None] = lambda _names: None) -> PlayedRay:
        played = PlayedRay(dies)
        monkeypatch.setattr(job, "require_ray", lambda **_words: played)
        # Pictures are given out in full portions, however slow this machine is.
        monkeypatch.setattr(job, "_SECONDS_AT_ONCE", 1e9)
        return played

    return put


def notes_of_workers(out: Path) -> list[Path]:
    return [*out.glob("page*/made_by-*"), *out.glob("page*/.cluster-*")]


def test_everything_is_made_once_as_it_is_without_workers(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=13, size=(9, 12))
    (photos / "bad.jpg").write_bytes(b"no picture")
    alone, out = photos.parent / "alone", photos.parent / "out"
    assert translate(photos, "--model", model, "--output", alone) == 1
    capsys.readouterr()
    played = play()
    assert translate(photos, "--model", model, "--output", out, "--engine", "ray") == 1
    printed = capsys.readouterr()
    assert "13 translated in" in printed.out
    assert "0 already there, 1 failed" in printed.out
    assert "bad.jpg" in printed.err
    assert "computing on 1 worker of 2 threads" in printed.err
    assert sorted(name for some in played.given for name in some) == sorted(
        path.name for path in photos.iterdir()
    )
    assert len(played.killed) == 1  # at the end
    for path in alone.glob("*.png"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert not notes_of_workers(out)
    # Without workers, it is all there; with them, too, and nobody is needed.
    again = (photos, "--model", model, "--output", out)
    for words in ((), ("--engine", "ray")):
        (photos / "bad.jpg").unlink(missing_ok=True)
        assert translate(*again, *words) == 0
        assert "0 translated, 0 films" not in (said := capsys.readouterr().out)
        assert "0 translated" in said
        assert "13 already there, 0 failed" in said
    assert len(played.killed) == 1


def test_what_a_lost_worker_had_finished_is_not_made_again(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, seen = picture_folder("photos", count=20, size=(9, 12)), dict[str, tuple[int, int]]()
    out = photos.parent / "out"

    def dies(names: list[str]) -> int | None:
        for path in out.glob("*.png"):  # those that are there, before the next ones are made
            seen.setdefault(path.name, (path.stat().st_ino, path.stat().st_mtime_ns))
        return 2 if len(names) > 4 and len(played.killed) == 0 else None

    played = play(dies)
    words = (photos, "--model", model, "--output", out, "--engine", "ray", "--ray_workers", 2)
    assert translate(*words) == 0
    printed = capsys.readouterr()
    assert "20 translated in" in printed.out
    lost = next(names for names in played.given if len(names) > 4)
    told = f"lost, and {len(lost) - 2} pictures that it had not finished: its process has died\n"
    assert told in printed.err
    times = Counter(name for names in played.given for name in names)
    assert {name for name, count in times.items() if count > 1} == set(lost[2:])
    assert all([name] in played.given for name in lost[2:])  # each alone, to know which one it is
    for name in (*lost[:2], *seen):
        status = (out / name).stat()
        assert seen[name] == (status.st_ino, status.st_mtime_ns)
    assert len(list(out.glob("*.png"))) == 20


def test_a_picture_that_ends_its_worker_again_and_again_is_named(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=20, size=(9, 12))
    out = photos.parent / "out"
    played = play(lambda names: names.index("13.png") if "13.png" in names else None)
    words = (photos, "--model", model, "--output", out, "--engine", "ray", "--ray_workers", 2)
    assert translate(*words, "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert Counter(line["status"] for line in lines) == {"translated": 19, "failed": 1}
    failed = next(line for line in lines if line["status"] == "failed")
    assert failed["source"] == str(photos / "13.png")
    assert "its worker ended 3 times while it was translated" in failed["reason"]
    assert "--memory" in failed["reason"]
    assert played.given.count(["13.png"]) == TRIES
    assert sorted(path.stem for path in out.glob("*.png")) == [
        f"{index:02d}" for index in range(20) if index != 13
    ]


def test_a_machine_that_does_not_see_the_folders_is_not_used(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=6, size=(9, 12))
    out, hidden = photos.parent / "out", photos.parent / "hidden"
    played = play()
    words = (photos, "--model", model, "--output", out, "--engine", "ray", "--ray_workers", 2)

    def hide() -> None:
        for mark in out.glob("page/.cluster-*"):
            mark.write_text("of another folder", encoding="ascii")

    played.before_start = hide
    assert translate(*words) == 1
    told = capsys.readouterr().err
    assert "no worker can be used: machine " in told
    assert f"{out}: is not there, or is another one; pictures and results have to be in" in told
    assert not notes_of_workers(out)

    played.before_start = lambda: photos.rename(hidden) if photos.exists() else None  # type: ignore[assignment]
    assert translate(*words) == 1
    hidden.rename(photos)
    assert f"{photos / '00.png'}: is not there" in capsys.readouterr().err
    # Where one machine sees them, it does all.
    starts: list[str] = []

    def hide_from_the_first() -> None:
        mark = next(out.glob("page/.cluster-*"))
        starts.append(mark.read_text(encoding="ascii"))
        mark.write_text("" if len(starts) == 1 else starts[0], encoding="ascii")

    played.before_start = hide_from_the_first
    assert translate(*words) == 0
    assert "a worker is not used: machine" in capsys.readouterr().err
    assert len(list(out.glob("*.png"))) == 6


def test_another_model_on_a_machine_is_not_used(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, played = picture_folder("photos", count=2, size=(9, 12)), play()

    def train_on() -> None:
        architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
        torch.manual_seed(1)
        weights = architecture.build().state_dict()
        save_generator(model, weights, architecture, {"direction": "AtoB"})

    played.before_start = train_on
    words = (photos, "--model", model, "--output", photos.parent / "out", "--engine", "ray")
    assert translate(*words) == 1
    assert "has other weights or another version of Impasto" in capsys.readouterr().err


def test_what_was_done_before_ctrl_c_stays_and_the_command_goes_on(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=20, size=(9, 12))
    out, played = photos.parent / "out", play()
    words = (photos, "--model", model, "--output", out, "--engine", "ray", "--ray_workers", 2)
    played.interrupted_after = 4
    assert translate(*words) == 130
    there = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 4 <= len(there) < 20
    assert "continues" in capsys.readouterr().err
    assert not notes_of_workers(out)
    assert (out / "index.html").is_file()
    assert len(played.killed) == 2
    played.interrupted_after = sys.maxsize
    assert translate(*words) == 0
    assert f"{20 - len(there)} translated" in (said := capsys.readouterr().out)
    assert f"{len(there)} already there" in said
    assert there == {name: (out / name).stat().st_mtime_ns for name in there}


def test_a_command_that_was_killed_with_all_its_workers_goes_on(
    model: Path,
    picture_folder: Callable[..., Path],
    play: Callable[..., PlayedRay],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=20, size=(9, 12))
    out, played = photos.parent / "out", play()
    words = (photos, "--model", model, "--output", out)
    played.interrupted_after = 4
    with monkeypatch.context() as killed:
        # Of a killed command nothing is left but what is on the disk, notes of workers as well.
        killed.setattr(ResultsFolder, "take_over_workers", lambda _folder: None)
        assert translate(*words, "--engine", "ray", "--ray_workers", 2) == 130
    there = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert len(notes_of_workers(out)) == 2
    capsys.readouterr()
    assert translate(*words) == 0  # by no worker
    assert f"{len(there)} already there, 0 failed" in capsys.readouterr().out
    assert there == {name: (out / name).stat().st_mtime_ns for name in there}
    assert not notes_of_workers(out)


def test_shards_have_workers_too(
    model: Path, picture_folder: Callable[..., Path], play: Callable[..., PlayedRay]
) -> None:
    photos = picture_folder("photos", count=12, size=(9, 12))
    out, played = photos.parent / "out", play()
    for number in (1, 2):
        words = ("--model", model, "--output", out, "--shard", f"{number}/2", "--engine", "ray")
        assert translate(photos, *words) == 0
    given = [name for names in played.given for name in names]
    assert sorted(given) == sorted(path.name for path in photos.iterdir())
    assert len(list(out.glob("*.png"))) == 12


@pytest.mark.parametrize(
    ("words", "machines", "crew"),
    [
        # What is asked for is given; threads share what there is.
        ({"ray_workers": 2}, [(2, 0)], Crew(workers=2, threads=1, gpus=0)),
        ({"ray_workers": 2, "threads": 3}, [(2, 0)], Crew(workers=2, threads=3, gpus=0)),
        ({"ray_workers": 4}, [(8, 0), (8, 0)], Crew(workers=4, threads=4, gpus=0)),
        # Four threads to a worker, as many workers as fit into each machine.
        ({}, [(16, 0), (6, 0)], Crew(workers=5, threads=4, gpus=0)),
        ({}, [(2, 0), (2, 0)], Crew(workers=2, threads=2, gpus=0)),
        ({"threads": 8}, [(16, 0), (6, 0)], Crew(workers=2, threads=8, gpus=0)),
        # A cluster whose machines are still to come.
        ({}, [], Crew(workers=1, threads=4, gpus=0)),
        # One GPU each, and what processors there are for it, up to four.
        ({}, [(32, 4), (8, 4), (64, 0)], Crew(workers=8, threads=2, gpus=1)),
        ({"ray_gpus_per_worker": 0.5}, [(16, 2)], Crew(workers=4, threads=4, gpus=0.5)),
        ({"device": "cpu"}, [(16, 4)], Crew(workers=4, threads=4, gpus=0)),
    ],
)
def test_how_many_workers_there_are(
    words: dict[str, Any], machines: list[tuple[int, int]], crew: Crew
) -> None:
    assert crew_for(TranslateOptions(output=Path("out"), engine="ray", **words), machines) == crew


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--ray_workers", 2), "--ray_workers: 2 is for --engine ray"),
        (("--engine", "ray", "--ray_workers", 0), "--ray_workers: 0 is not above 0"),
        (("--engine", "ray", "--ray_address", "ray://a:1"), "expected HOST:PORT, auto or local"),
        (("--engine", "ray", "--ray_gpus_per_worker", 1.5), "or a larger whole number, got 1.5"),
    ],
)
def test_options_that_do_not_fit(
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    words: Sequence[object],
    told: str,
) -> None:
    assert translate(picture_folder("photos"), "--output", "out", *words) == 2
    assert told in capsys.readouterr().err


def test_a_single_film_is_not_for_workers(
    tmp_path: Path, model: Path, play: Callable[..., PlayedRay], capsys: pytest.CaptureFixture[str]
) -> None:
    play()
    (tmp_path / "a.mp4").write_bytes(b"")
    words = ("--model", model, "--output", tmp_path / "b.mp4", "--engine", "ray")
    assert translate(tmp_path / "a.mp4", *words) == 2
    assert "--engine: ray needs a folder as --output" in capsys.readouterr().err


def test_without_ray_it_is_said_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, picture_folder: Callable[..., Path]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImpastoError, match="on each machine of the cluster: pip install ray"):
        job.require_ray()
    words = ("--output", picture_folder("photos").parent / "out", "--engine", "ray")
    assert translate(picture_folder("photos"), *words) == 1


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(job, "require_ray", lambda: SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    options = TranslateOptions(
        output=tmp_path, engine="ray", ray_workers=2, ray_gpus_per_worker=1.0
    )
    with (
        pytest.raises(OptionError, match="need more GPUs than this machine has, 1"),
        job._connected(options, lambda _words: None),
    ):
        pass
