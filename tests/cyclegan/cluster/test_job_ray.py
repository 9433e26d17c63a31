"""A folder over two workers of a real Ray on this machine, one of which is killed."""

import importlib.util
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
_TRIES = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray"),
    pytest.mark.skipif(sys.platform != "linux", reason="the witness is inotify, of Linux"),
]


def test_all_are_there_and_none_was_made_twice_though_a_worker_was_killed(
    tmp_path: Path, start_process: Callable[..., Any]
) -> None:
    drill = runpy.run_path(str(ROOT / "benchmarks" / "cluster_drill.py"))
    names = drill["make_pictures"](tmp_path / "photos", 40, 16)
    drill["make_model"](tmp_path / "model.safetensors")
    given = (tmp_path / "photos", tmp_path / "model.safetensors")
    for number in range(_TRIES):
        out = tmp_path / f"out{number}"
        made = drill["over_ray"](*given, out, kill_at=1, start=start_process)
        assert made.status == 0, made.said
        assert {name: made.moves[name] for name in names} == dict.fromkeys(names, 1)
        assert sorted(path.name for path in out.glob("*.png")) == names
        assert "40 translated in" in made.said
        assert "0 already there, 0 failed" in made.said
        # Nothing is left: neither processes nor notes of workers.
        assert made.left == 0
        assert not list(out.glob("page/made_by-*"))
        if made.killed is not None:  # or all was done before that was seen
            assert made.helpers >= 2
            return
    pytest.fail(f"in {_TRIES} tries, everything was done before a worker could be killed")
