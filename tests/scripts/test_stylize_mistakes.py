"""Mistakes with `impasto stylize`: one message, an exit status, nothing written, nothing wasted."""

import contextlib
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.scripts.stylizing import (
    BUILTIN,
    FIRST,
    HEIGHT,
    RANDOM,
    RESNET,
    SMALL,
    WIDTH,
    stylize,
)

DEEP = ("--content_layers", "layer4", "--style_layers", "layer1")
MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no style": (("content.png",), 2, "missing: STYLE, a picture or a folder"),
    "nothing": ((), 2, "missing: CONTENT, STYLE"),
    "no content": (("none.png", "a.png"), 1, "none.png: no such file or folder"),
    "content is no picture": (("text.png", "a.png"), 1, "text.png: "),
    "no such style": (("content.png", "none.png"), 1, "none.png: no such file or folder"),
    "style is no picture": (("content.png", "text.png"), 1, "text.png: "),
    "empty folder": (("content.png", "empty"), 1, "empty: holds no picture"),
    "mask size": ((*FIRST, "--masks", "a.png"), 1, "expected the same size or the same aspect"),
    "no such mask": ((*FIRST, "--masks", "none.png"), 1, "none.png: no such file or folder"),
    "mask style": (
        (*FIRST, "b.png", "--masks", "left.png=c.png"),
        2,
        "c.png is no style; expected MASK=STYLE, with STYLE one of a.png, b.png, untouched",
    ),
    "masks overlap": (
        (*FIRST, "b.png", "--masks", "left.png=a", "left.png=b"),
        2,
        "left.png and left.png both claim",
    ),
    "empty mask": ((*FIRST, "--masks", "black.png"), 1, "black.png: marks nothing"),
    "tiny mask": ((*FIRST, "--masks", "dot.png"), 1, "dot.png: expected masks that cover"),
    "count of weights": (
        (*FIRST, "b.png", "--style_weights", "1"),
        2,
        "--style_weights: expected a number for each of 2 styles, got 1",
    ),
    "weights of nothing": (
        (*FIRST, "b.png", "--style_weights", "0", "0"),
        2,
        "--style_weights: all are 0",
    ),
    "negative weight": (
        (*FIRST, "--style_weight", "-1"),
        2,
        "--style_weight: must be at least 0, got -1.0",
    ),
    "weight is no number": (
        (*FIRST, "--tv_weight", "much"),
        2,
        "--tv_weight: expected a number, got much",
    ),
    "no evaluation": ((*FIRST, "--iterations", "5", "0"), 2, "--iterations: 0 is not above 0"),
    "too small": ((*FIRST, "--size", "8"), 2, "--size: must be at least 32, got 8"),
    "too large": ((*FIRST, "--size", "400000"), 1, "are available: use a size of at most"),
    "unknown preset": (
        (*FIRST, "--preset", "gatys2015"),
        2,
        "--preset: 'gatys2015' is none of auto, lite, lite_fast, builtin, random, trained, model, "
        "gatys2016, leongatys, tutorial, neural_style, crowsonkb, adam_5000, adam_lr5; did you "
        "mean gatys2016?",
    ),
    "unknown layer": (
        (*FIRST, *RANDOM, "--style_layers", "relu9_1"),
        2,
        "--style_layers: ",
    ),
    "unknown backbone": (
        (*FIRST, "--backbone", "resnt50"),
        2,
        "--backbone: 'resnt50' is none of auto, vgg19, vgg16, random, pixels, lite and no model of "
        "torchvision; did you mean resnet50",
    ),
    "backbone of one size": ((*FIRST, "--backbone", "vit_b_16"), 2, "pictures of one size only"),
    "backbone is a file": (
        (*FIRST, "--backbone", "mine.pth"),
        1,
        "mine.pth: no such file",
    ),
    "unknown layer of a model": (
        (*FIRST, *RESNET, "--style_layers", "layer1", "layer5"),
        2,
        "--style_layers: 'layer5' is no layer of resnet18; did you mean layer4",
    ),
    "pooling of a model": ((*FIRST, *RESNET, "--pooling", "average"), 2, "changes VGG alone"),
    "no weights of a model": (
        (*FIRST, "--backbone", "resnet18", "--weights", "none.pth"),
        1,
        "none.pth: no such file; expected weights of resnet18",
    ),
    "weights of a random model": ((*FIRST, *RESNET, "--weights", "none.pth"), 2, "not be used"),
    "preset of a model": ((*FIRST, "--preset", "model"), 2, "and --backbone is auto"),
    "unknown smoothing": (
        (*FIRST, *RESNET, "--smoothing", "blur"),
        2,
        "--smoothing: expected none, softmax, softmax(T) or scale(a), got 'blur' (or auto)",
    ),
    "smoothing of pixels": (
        (*FIRST, *BUILTIN, "--smoothing", "softmax"),
        2,
        "builtin looks at pixels",
    ),
    "unknown option": ((*FIRST, "--keep_colours", "linear"), 2, "did you mean --keep_colors"),
    "style too small": (
        ("content.png", "pixel.png", *RANDOM),
        1,
        "pixel.png: is a style of 1 x 1 pixels at the smallest scale, too small for the network",
    ),
    "style too small for the content's layers": (
        ("content.png", "one/0.png", *RESNET, *DEEP, "--size", "48"),
        1,
        "one/0.png: is a style of 32 x 30 pixels at the smallest scale, too small for the network, "
        "which needs 32",
    ),
    "wrong weights": ((*FIRST, "--weights", "text.png"), 1, "text.png: "),
    "no weights": ((*FIRST, "--weights", "none.pth"), 1, "none.pth: no such file"),
    "start without picture": (
        (*FIRST, "--init", "file"),
        2,
        "--init file and --init_image need each other",
    ),
    "picture without start": (
        (*FIRST, "--init_image", "b.png"),
        2,
        "--init file and --init_image need each other",
    ),
    "start is no picture": (
        (*FIRST, "--init", "file", "--init_image", "text.png"),
        1,
        "text.png: ",
    ),
    "output is the content": ((*FIRST, "--output", "content.png"), 2, "content.png is also read"),
    "output is a style": (
        (*FIRST, "--output", "one/../a.png"),
        2,
        "a.png is also read as another file",
    ),
    "output is a mask": (
        (*FIRST, "--masks", "left.png=a.png", "--output", "left.png"),
        2,
        "--output: left.png is also read",
    ),
    "output twice": (
        (*FIRST, "--output", "out.png", "--triptych", "out.png"),
        2,
        "--triptych: out.png is also written as another file",
    ),
    "output among styles": (
        ("content.png", "one", "--output", "one/deep/out.png"),
        2,
        "--output: one/deep/out.png lies in one, whose pictures are styles",
    ),
    "kept pictures": (
        ("out_0010.png", "a.png", "--save_every", "10", "--output", "out.png"),
        2,
        "--save_every: out_0010.png is read",
    ),
    "suffix": ((*FIRST, "--output", "out.pmg"), 2, "did you mean .png"),
    "no suffix": ((*FIRST, "--output", "out"), 2, "--output: out ends in none of .png, .jpg"),
    "deep triptych": ((*FIRST, "--triptych", "out.tif"), 2, "--triptych: out.tif ends in none of"),
    "video suffix": ((*FIRST, "--video", "out.avi"), 2, "--video: out.avi ends in none of .gif"),
    "plot suffix": ((*FIRST, "--plot_losses", "out.pdf"), 2, "out.pdf ends in none of .png, .svg"),
    "output in a file": (
        (*FIRST, "--output", "text.png/deep/out.png"),
        1,
        "text.png is a file, not a folder",
    ),
    "output is a folder": (
        (*FIRST, "--output", "empty.png"),
        1,
        "empty.png: cannot be written: it is a folder",
    ),
    "video in a file": (
        (*FIRST, "--video", "text.png/out.gif"),
        1,
        "out.gif: cannot be written: ",
    ),
    "sheet is a folder": ((*FIRST, "--triptych", "empty.png"), 1, "cannot be written: it is a"),
    "no such recipe": (("--config", "none.yaml"), 2, "none.yaml: no such file"),
    "damaged recipe": (("--config", "text.png"), 2, "text.png, line 1: expected YAML with lines"),
    "half precision": (
        (*FIRST, "--device", "cpu", "--mixed_precision", "fp16"),
        2,
        "--mixed_precision: fp16 needs a GPU; use bf16 or no on the CPU",
    ),
    "precision": ((*FIRST, "--mixed_precision", "8"), 2, "--mixed_precision: expected one of"),
    "kept picture is a sheet": (
        (*FIRST, "--triptych", "o_0002.png", "--save_every", "2", "--output", "o.jpg"),
        2,
        "--save_every: o_0002.png is written, and a picture that is kept may get its name",
    ),
    "folder without a network": (
        (*FIRST, "--backbone", "one"),
        2,
        "--backbone: one is a folder that holds no backbone.safetensors",
    ),
    "device": ((*FIRST, "--device", "gpu"), 2, "--device: expected one of"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_before_anything_is_computed(
    mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "empty.png").mkdir()
    (folder / "text.png").write_text("no: [picture", encoding="utf-8")
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "black.png")
    dot = Image.new("L", (WIDTH * 10, HEIGHT * 10))
    dot.paste(255, (0, 0, 4, 4))
    dot.save(folder / "dot.png")
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    Image.new("RGB", (32, 32)).save(folder / "out_0010.png")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    argv, status, says = MISTAKES[mistake]
    words = argv if "--size" in argv or "--iterations" in argv else (*argv, *SMALL)
    found = stylize(*words)
    printed = capsys.readouterr()
    assert (found, says in printed.err) == (status, True), printed.err
    assert "Traceback" not in printed.err
    assert "wrote" not in printed.out
    left = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert left == before


def test_a_mistake_leaves_the_losses_of_an_earlier_run(folder: Path) -> None:
    assert stylize(*FIRST, *SMALL, "--output", "out.png") == 0
    before = (folder / "out.losses.csv").read_bytes()
    assert stylize("none.png", "a.png", *SMALL, "--output", "out.png") == 1
    assert stylize(*FIRST, *SMALL, "--output", "out.png", "--video", "a.png/x.gif") == 1
    assert (folder / "out.losses.csv").read_bytes() == before


# Disks.


@pytest.mark.parametrize("option", ["--output", "--triptych", "--video", "--plot_losses"])
def test_a_read_only_place_is_refused_at_once(
    folder: Path, read_only_disk: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = ".gif" if option == "--video" else ".png"
    place = read_only_disk / f"out{suffix}"
    assert stylize(*FIRST, *SMALL, option, str(place)) == 1
    printed = capsys.readouterr()
    assert f"{place}: cannot be written: read-only file system" in printed.err
    assert "Traceback" not in printed.err
    assert not (folder / "stylized.png").exists()


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_said(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (*FIRST, *SMALL, "--output", str(small_disk / "out.tif"))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    assert stylize(*words) == 1
    first = capsys.readouterr()
    assert "out.tif: cannot be written: no space left on device" in first.err
    assert "preset" not in first.out  # found before anything was computed
    os.truncate(filler, filler.stat().st_size - 8192)  # enough for losses, not for the picture
    assert stylize(*words) == 1
    second = capsys.readouterr()
    assert "out.tif: cannot be written: no space left on device" in second.err
    assert "preset" in second.out
    assert "Traceback" not in first.err + second.err
    assert {path.name for path in small_disk.iterdir()} == {"filler", "out.losses.csv"}
    filler.unlink()
    assert stylize(*words) == 0
