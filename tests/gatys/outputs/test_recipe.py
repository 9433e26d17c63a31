"""Recipes: read by the command line, facts kept, changes named."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml

from impasto.gatys.outputs.recipe import (
    Facts,
    absolute_masks,
    changes_since,
    describe_file,
    installed_versions,
    read_recipe,
    recipe_path,
    write_recipe,
)
from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError, PictureError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Some options of every kind."""

    content: Path
    """picture"""
    styles: Sequence[Path]
    """pictures"""
    style_weight: float = 1.0
    """number"""
    size: int = 256
    """pixels"""
    init: Literal["content", "noise"] = "content"
    """how to begin"""
    masks: Sequence[str] | None = None
    """pairs"""
    colors: str | None = None
    """text"""
    averaging: bool = True
    """switch"""


def facts(*inputs: Path) -> Facts:
    return Facts(
        inputs=tuple(describe_file(path) for path in inputs),
        backbone="random-vgg19",
        backbone_sha256="",
        versions=installed_versions(),
        device="cpu: a processor",
        threads=2,
        seed=7,
        evaluations=300,
        seconds=12.5,
        losses={"content": 0.25, "style": 1e-7, "total": 0.2500001},
        peak_memory_mib=350.5,
    )


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("café: #1.jpg", "style.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "café: #1.jpg", tmp_path / "style.png"


def test_the_command_line_reads_it(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    content, style = inputs
    path = recipe_path(tmp_path / "out" / "monet.png")
    assert path == tmp_path / "out" / "monet.png.yaml"
    options = {
        "content": content,
        "styles": (style,),
        "style_weight": 1e-5,
        "size": 128,
        "init": "noise",
        "masks": [f"{content}=untouched"],
        "colors": None,
        "averaging": False,
    }
    write_recipe(path, options, facts(*inputs))
    parser = CommandParser("impasto stylize", Options, description="")
    made = parser.make(Options, parser.parse(["--config", str(path)]))
    assert made == Options(
        content=content,
        styles=(style,),
        style_weight=1e-5,
        size=128,
        init="noise",
        masks=(f"{content}=untouched",),
        averaging=False,
    )
    assert parser.parse(["--config", str(path), "--size", "64"]).size == 64


def test_facts_come_back(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    noted = replace(facts(*inputs), picture=describe_file(inputs[1]))
    options = {"lr": 0.1 + 0.2, "name": "on", "text": "#| x: [", "many": [1, None, True]}
    write_recipe(tmp_path / "r.yaml", options, noted)
    recipe = read_recipe(tmp_path / "r.yaml")
    assert recipe.options == options
    assert recipe.facts == noted
    assert noted.inputs[1].sha256 == hashlib.sha256(b"style.png").hexdigest()
    assert noted.inputs[1].bytes == 9
    assert "impasto stylize --config" in (tmp_path / "r.yaml").read_text(encoding="utf-8")


def test_relative_paths_become_absolute_and_numbers_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"content": Path("a.jpg"), "weight": np.float32(0.5), "text": "a.jpg"}
    write_recipe(Path("r.yaml"), options, facts())
    assert read_recipe(Path("r.yaml")).options == {
        "content": str(tmp_path / "a.jpg"),
        "weight": 0.5,
        "text": "a.jpg",
    }


def test_before_the_picture_is_made_there_are_no_facts(tmp_path: Path) -> None:
    write_recipe(tmp_path / "cell.yaml", {"size": 64})
    recipe = read_recipe(tmp_path / "cell.yaml")
    assert (recipe.options, recipe.facts) == ({"size": 64}, None)
    assert "facts" not in (tmp_path / "cell.yaml").read_text(encoding="utf-8")


def test_masks_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    styles = [Path("night.jpg"), Path("more/sky.png")]
    assert absolute_masks(["a.png=sky", "b=c.png=night.jpg", "d.png=untouched"], styles) == [
        f"{tmp_path}/a.png={tmp_path}/more/sky.png",
        f"{tmp_path}/b=c.png={tmp_path}/night.jpg",
        f"{tmp_path}/d.png=untouched",
    ]
    with pytest.raises(OptionError, match="--masks"):
        absolute_masks(["a.png=day"], styles)


def test_nothing_changed(inputs: tuple[Path, Path]) -> None:
    assert changes_since(facts(*inputs), device="cpu: a processor", threads=2) == []


def test_a_picture_that_was_stopped_is_another_one(tmp_path: Path) -> None:
    noted = replace(facts(), stopped="stopped after 12 evaluations of 300")
    write_recipe(tmp_path / "r.yaml", {}, noted)
    assert read_recipe(tmp_path / "r.yaml").facts == replace(noted, inputs=())
    assert changes_since(noted, device="cpu: a processor", threads=2) == [
        "it goes on to its end now, the recipe is of a picture stopped after 12 evaluations of 300"
    ]


def test_changes_are_named(inputs: tuple[Path, Path]) -> None:
    noted = facts(*inputs)
    noted = replace(noted, versions={**noted.versions, "torch": "0.1", "Lua": "5.1"})
    inputs[0].write_bytes(b"other")
    inputs[1].unlink()
    content, style, torch, lua, device, threads = changes_since(noted, device="cuda", threads=4)
    digest = hashlib.sha256(b"other").hexdigest()
    assert content.startswith(f"{inputs[0]} is another file than the recipe is of: 5 bytes")
    assert digest[:12] in content
    assert noted.inputs[0].sha256[:12] in content
    assert style == f"{inputs[1]} cannot be opened: no such file or directory"
    assert torch.startswith("torch is ")
    assert torch.endswith("now, the recipe is of 0.1")
    assert lua == "Lua is unknown now, the recipe is of 5.1"
    assert device == "the device is cuda now, the recipe is of cpu: a processor"
    assert threads == "4 threads compute now, the recipe is of 2"


def test_a_users_own_options(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# mine\nsize: 64\n")
    assert read_recipe(path).options == {"size": 64}
    assert read_recipe(path).facts is None
    path.write_text("# nothing\n")
    assert read_recipe(path).options == {}


def test_facts_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    write_recipe(path, {"size": 64}, facts())
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("#| seed:", "#| mood: good\n#| seed:"), encoding="utf-8")
    assert read_recipe(path).facts == facts()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"size: [", "is no YAML"),
        (b"- 1\n- 2\n", "expected 'name: value' lines"),
        (b"\xff\xfe\x00", "cannot be read: it is no text"),
        (b"#| seed: 3\nsize: 64\n", "its facts .* are damaged; remove them"),
        (b"#| inputs: [\nsize: 64\n", "its facts .* are damaged; remove them"),
        (b"#| just words\nsize: 64\n", "its facts .* are damaged; remove them"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "r.yaml").write_bytes(data)
    with pytest.raises(OptionError, match=f"--config: .*r.yaml.*{message}"):
        read_recipe(tmp_path / "r.yaml")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"gone.yaml cannot be read: no such file"):
        read_recipe(tmp_path / "gone.yaml")
    with pytest.raises(PictureError, match=r"gone.png: cannot be opened: no such file"):
        describe_file(tmp_path / "gone.png")
    (tmp_path / "file").write_text("x")
    with pytest.raises(PictureError, match=r"r.yaml: cannot be written"):
        write_recipe(tmp_path / "file" / "r.yaml", {}, facts())


def test_a_failed_write_leaves_the_old_recipe(small_disk: Path) -> None:
    path = small_disk / "r.yaml"
    write_recipe(path, {"size": 1}, facts())
    with pytest.raises(PictureError, match=r"cannot be written: no space left"):
        write_recipe(path, {"text": "x" * 200_000}, facts())
    assert yaml.safe_load(path.read_text()) == {"size": 1}


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.gatys.outputs.recipe._PACKAGES", ("impasto", "no-such-package"))
    assert installed_versions()["no-such-package"] == "not installed"
