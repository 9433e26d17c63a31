"""A recipe of `impasto stylize` makes the same picture again, and what differs is said."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from impasto.gatys.features.vgg import Vgg
from impasto.gatys.outputs.recipe import read_recipe
from impasto.scripts.main import main
from tests.scripts.stylizing import (
    SMALL,
    stylize,
)


def test_a_recipe_holds_what_was_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("content.png", "a.png", *SMALL, "--output", "plain.png") == 0
    # Weights turn up later: auto would now take another preset.
    torch.manual_seed(0)
    place = tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-features.safetensors"
    place.parent.mkdir(parents=True)
    torch.save(Vgg(depth=19, width=1 / 16).state_dict(), folder / "vgg19.pth")
    packed = ("pack", str(folder / "vgg19.pth"), "--output", str(place))
    assert main(["weights", *packed]) == 0
    assert stylize("--config", "plain.png.yaml", "--output", "again.png") == 0
    assert (folder / "again.png").read_bytes() == (folder / "plain.png").read_bytes()
    capsys.readouterr()
    assert stylize("content.png", "a.png", *SMALL, "--output", "vgg.png") == 0
    assert "preset crowsonkb with vgg19 on cpu" in capsys.readouterr().out
    assert read_recipe(folder / "vgg.png.yaml").options["weights"] == str(place)
    # And vanish from where they are looked for.
    place.rename(folder / "kept.safetensors")
    assert stylize("--config", "vgg.png.yaml") == 1
    assert f"{place}: no such file" in capsys.readouterr().err
    moved = ("--weights", "kept.safetensors", "--output", "moved.png")
    assert stylize("--config", "vgg.png.yaml", *moved) == 0
    assert (folder / "moved.png").read_bytes() == (folder / "vgg.png").read_bytes()


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("--masks", "left.png=a.png", "right.png=b", "--save_every", "2"),
        ("--optimizer", "lbfgs", "--keep_colors", "linear", "--style_weights", "2", "1"),
    ],
)
def test_a_recipe_makes_the_same_picture_from_anywhere(
    folder: Path,
    tmp_path: Path,
    extra: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("content.png", "../here/a.png", "b.png", *SMALL, *extra)
    assert stylize(*words, "--output", "out.png") == 0
    assert stylize("--config", "out.png.yaml", "--output", "again.png") == 0
    monkeypatch.chdir(tmp_path)
    assert stylize("--config", "here/out.png.yaml", "--output", "far.png") == 0
    assert "not as in the recipe" not in capsys.readouterr().out
    first = (folder / "out.png").read_bytes()
    assert (folder / "again.png").read_bytes() == first
    assert (tmp_path / "far.png").read_bytes() == first
    one, other = (
        read_recipe(path).options for path in (folder / "out.png.yaml", tmp_path / "far.png.yaml")
    )
    assert {**one, "output": ""} == {**other, "output": ""}


def test_a_recipe_without_output_writes_the_same_file(folder: Path) -> None:
    assert stylize("content.png", "a.png", *SMALL, "--output", "out.jpg") == 0
    files = [folder / name for name in ("out.jpg", "out.jpg.yaml")]
    before = files[0].read_bytes()
    files[0].unlink()
    assert stylize("--config", "out.jpg.yaml") == 0
    assert files[0].read_bytes() == before


def test_what_is_not_as_in_the_recipe_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("content.png", "one", *SMALL, "--output", "out.png") == 0
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / "one" / "1.png")
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / "one" / "new.png")
    capsys.readouterr()
    assert stylize("--config", "out.png.yaml", "--output", "again.png") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not as")]
    assert len(lines) == 2
    changed = f"not as in the recipe: {folder / 'one' / '1.png'} is another file than the recipe"
    assert lines[0].startswith(changed)
    assert lines[1] == f"not as in the recipe: {folder / 'one' / 'new.png'} is read now, too"
