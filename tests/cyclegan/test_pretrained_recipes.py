"""Whether benchmarks/first_steps.py tells a recipe that still does the same from one that does not.

The painters' own presets take minutes; this is a training of small networks, by the same program.
"""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from impasto.cyclegan.models import painters
from impasto.options.config import preset_names

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL: dict[str, Any] = {
    "load_size": 28,
    "crop_size": 24,
    "netG": "resnet_4blocks",
    "ngf": 2,
    "ndf": 2,
    "lambda_identity": 0.0,
    "n_epochs": 2,
    "num_threads": 0,
}


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    """What the program defines: tests do not import benchmarks."""
    return runpy.run_path(str(BENCHMARKS / "first_steps.py"))


@pytest.fixture
def words(tmp_path: Path, picture_folder: Callable[..., Path]) -> list[str]:
    """Words that run a small recipe."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    folders = [str(picture_folder(name, count=4, seed=len(name))) for name in ("photos", "ours")]
    said = [str(tmp_path / "small.yaml"), "--photographs", folders[0], "--paintings", folders[1]]
    return [*said, "--steps", "4", "--kept", str(tmp_path / "kept.json")]


def test_a_recipe_is_recorded_and_found_again(
    program: dict[str, Any],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main, kept = program["main"], tmp_path / "kept.json"
    with pytest.raises(SystemExit, match=r"holds no small; --record"):
        main(words)
    assert main([*words, "--record"]) == 0
    written = json.loads(kept.read_text(encoding="utf-8"))["small"]
    assert written["machine"] == program["machine"]()
    assert (written["photographs"]["count"], written["threads"]) == (4, 1)
    assert "idt_A" not in written["losses"]  # weighed with 0
    assert {len(values) for values in written["losses"].values()} == {4}
    capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "at most 0.1%" in printed
    assert "cycle_A           0.000%\n" in printed
    # One step that differs by a hundredth is found on the same machine; elsewhere means count.
    written["losses"]["cycle_A"][2] *= 1.01
    kept.write_text(json.dumps({"small": written}), encoding="utf-8")
    assert main(words) == 1
    assert "0.990%   TOO FAR" in capsys.readouterr().out
    written["torch"] = "1.0"
    kept.write_text(json.dumps({"small": written}), encoding="utf-8")
    assert main(words) == 0
    assert "at most 15.0%" in capsys.readouterr().out


def test_other_pictures_are_told(
    program: dict[str, Any],
    words: list[str],
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program["main"]([*words, "--record"]) == 0
    picture_folder("ours", count=4, seed=9)
    assert program["main"](words) == 1
    assert "paintings: {'count': 4, " in capsys.readouterr().out


def test_the_log_of_a_training_is_compared_by_its_means(
    program: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    assert program["main"]([*words, "--record"]) == 0
    losses = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))["small"]["losses"]
    log = tmp_path / "small.log.jsonl"
    for factor, status in ((1.0, 0), (0.8, 1)):
        records = [
            {
                "epoch": 1,
                "images": end,
                "steps": end,
                "seconds": 1.0,
                "losses": {
                    name: factor * sum(values[end - 2 : end]) / 2 for name, values in losses.items()
                },
            }
            for end in (2, 4, 6)
        ]
        log.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
        assert program["main"]([*words, "--log", str(log)]) == status
    log.write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds no report of the first 4 steps"):
        program["main"]([*words, "--log", str(log)])


def test_differences_are_shares_of_the_amounts(program: dict[str, Any]) -> None:
    # Losses around 0: the mean of the first is 0, that of its amounts 2.
    assert program["compare"]({"G": [2.0, -2.0]}, {"G": [2.5, -2.0]}) == {"G": 0.125}
    with pytest.raises(SystemExit, match="expected G, found D"):
        program["compare"]({"G": [1.0]}, {"D": [1.0]})
    with pytest.raises(SystemExit, match="2 values are kept, found 1"):
        program["compare"]({"G": [1.0, 1.0]}, {"G": [1.0]})


def test_what_is_kept_is_of_shipped_painters() -> None:
    kept = json.loads((BENCHMARKS / "first_steps.json").read_text(encoding="utf-8"))
    names = {model.name for model in painters()} & set(preset_names())
    assert kept
    assert set(kept) <= names
    for one in kept.values():
        assert {len(values) for values in one["losses"].values()} == {100}
        assert one["threads"] == 1
