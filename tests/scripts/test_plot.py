"""`impasto plot` as a user calls it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from impasto.options import TrainOptions, flatten
from impasto.scripts.main import main

LOSSES = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")


def write_log(folder: Path, *, reports: int = 20, without: str = "-") -> Path:
    folder.mkdir(parents=True)
    names = [name for name in LOSSES if not name.startswith(without)]
    lines = [
        {
            "epoch": 1 + (images - 1) // 1000,
            "images": images,
            "steps": images // 2,
            "global_batch": 2,
            "losses": {name: 1 / images + place for place, name in enumerate(names)},
            "learning_rate": 2e-4,
        }
        for images in range(100, 100 * reports + 1, 100)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "log.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def monet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in ./checkpoints."""
    monkeypatch.chdir(tmp_path)
    return write_log(tmp_path / "checkpoints" / "monet")


def plot(*words: object) -> int:
    try:
        return main(["plot", *map(str, words)])
    except SystemExit as ended:
        return int(str(ended.code))


@pytest.mark.usefixtures("monet")
def test_a_figure_and_the_last_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert plot("monet", "--output", "deep/er/losses.png", "--smoothing", 0) == 0
    with Image.open("deep/er/losses.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1600, 1000))
    assert capsys.readouterr().out.splitlines() == [
        "run    iteration  G_A  G_B     D_A  D_B",
        "monet      1,000    1    5  0.0005    4",
        "wrote deep/er/losses.png (not smoothed); open deep/er/losses.png",
    ]


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<?xml"), ("a.pdf", b"%PDF-")])
def test_the_ending_chooses_the_kind(monet: Path, name: str, begins: bytes) -> None:
    written = []
    for _ in range(2):
        assert plot(monet, "--output", name) == 0
        written.append(Path(name).read_bytes())
    assert written[0].startswith(begins)
    assert written[0] == written[1]


@pytest.mark.usefixtures("monet")
def test_size_in_inches_and_pixels() -> None:
    size = ("--width_inches", 4, "--height_inches", 3, "--dpi", 50)
    assert plot("monet", "--output", "a.png", *size) == 0
    with Image.open("a.png") as picture:
        assert picture.size == (200, 150)


@pytest.mark.usefixtures("monet")
def test_several_runs_and_their_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_log(tmp_path / "old" / "monet", without="idt")
    words = ("--losses", "G_A", "idt", "--first", 150, "--table", "out/a.csv")
    assert plot("monet", other, "--output", "a.svg", *words) == 0
    assert Path("out/a.csv").read_text(encoding="utf-8").splitlines() == [
        "run,loss,iteration,image,epoch,value",
        *(f"checkpoints/monet,G_A,{n},{2 * n},1,{1 / (2 * n) + 1}" for n in (50, 100, 150)),
        *(f"checkpoints/monet,idt_A,{n},{2 * n},1,{1 / (2 * n) + 3}" for n in (50, 100, 150)),
        *(f"checkpoints/monet,idt_B,{n},{2 * n},1,{1 / (2 * n) + 7}" for n in (50, 100, 150)),
        *(f"old/monet,G_A,{n},{2 * n},1,{1 / (2 * n) + 1}" for n in (50, 100, 150)),
    ]
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "note: old/monet has no idt_A, idt_B",
        "note: few points: checkpoints/monet has 3, old/monet has 3; training with a smaller "
        "--print_freq gives finer curves",
    ]
    assert "old/monet                150  1.005      -      -" in printed.out
    assert "wrote a.svg and out/a.csv (smoothed: a value counts half after 67.8 iter" in printed.out
    svg = Path("a.svg").read_text(encoding="utf-8")
    for text in ("checkpoints/monet", "old/monet", "Identity loss", "G_A, idt_A"):
        assert f">{text}</text>" in svg


@pytest.mark.usefixtures("monet")
def test_options_from_a_file_and_all_losses() -> None:
    Path("mine.yaml").write_text("losses: [all]\nx_axis: epochs\nlog_scale: true\n", "utf-8")
    assert plot("monet", "--config", "mine.yaml", "--output", "a.svg", "--title", "Monet & I") == 0
    svg = Path("a.svg").read_text(encoding="utf-8")
    for text in ("Monet &amp; I", "Cycle loss", "Epoch", "G_A, D_A, cycle_A, idt_A"):
        assert f">{text}</text>" in svg


def test_the_log_of_a_real_training(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = flatten(tiny_options(max_images=7, print_freq=2, display="none"))
    words = [
        word for name, value in options.items() if value not in (None, []) for word in (name, value)
    ]
    named = [f"--{w}" if at % 2 == 0 else str(w) for at, w in enumerate(words)]
    assert main(["train", *named]) == 0
    capsys.readouterr()
    output = tmp_path / "a.png"
    assert plot("tiny", "--checkpoints_dir", tmp_path / "checkpoints", "--output", output) == 0
    assert output.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr()
    assert "tiny          6  " in printed.out
    assert printed.err.startswith("note: few points: tiny has 3")


@pytest.mark.usefixtures("monet")
def test_an_older_figure_is_replaced_or_kept_whole(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = small_disk / "a.png"
    figure.write_bytes(b"an older one")
    assert plot("monet", "--output", figure, "--dpi", 1000) == 1
    assert f"{figure}: cannot be written (No space left on device)" in capsys.readouterr().err
    assert figure.read_bytes() == b"an older one"
    assert [file.name for file in small_disk.iterdir()] == ["a.png"]
    assert plot("monet", "--output", figure, "--dpi", 20) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_bad_words_are_refused(monet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.png").mkdir()
    empty = monet.parent / "empty"
    empty.mkdir()
    (empty / "log.jsonl").touch()
    out = ("--output", "a.png")
    for words, status, says in (
        (("monet",), 2, "output"),
        (out, 2, "missing: RUN"),
        (("monte", *out), 1, "monte: no such run in checkpoints; did you mean monet?"),
        (("empty", *out), 1, "empty/log.jsonl: holds no report so far"),
        (("monet", "--output", "a.gif"), 2, "--output: a.gif ends in none of .png, .svg, .pdf"),
        (("monet", "--output", "folder.png"), 1, "folder.png: cannot be written"),
        (("monet", "--output", "checkpoints/monet/log.jsonl/a.png"), 1, "cannot be written"),
        (("monet", *out, "--losses", "G_C"), 2, "did you mean G_B or G_A"),
        (("monet", *out, "--first", "60"), 2, "monet has 1 up to iteration 60: there is one every"),
        (("monet", *out, "--smoothing", "1"), 2, "--smoothing: 1.0 is not from 0.0 to below 1.0"),
        (("monet", *out, "--x_axis", "epoch"), 2, "did you mean epochs"),
        (("monet", *out, "--loses", "G"), 2, "did you mean --losses"),
    ):
        assert plot(*words) == status, says
        printed = capsys.readouterr().err
        assert says in printed
        assert "Traceback" not in printed
    assert not Path("a.png").exists()


def test_a_loss_of_one_report_is_no_curve(monet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (monet / "log.jsonl").open("a", encoding="utf-8") as log:
        record = {"epoch": 3, "images": 2100, "steps": 1050, "losses": {"new": 1.0}}
        log.write(json.dumps(record) + "\n")
    assert plot("monet", "--output", "a.png", "--losses", "new") == 1
    assert "no run has two of new" in capsys.readouterr().err


@pytest.mark.usefixtures("monet")
def test_it_needs_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys\nfrom impasto.scripts.main import main\n"
        "assert main(['plot', 'monet', '--output', 'a.png', '--table', 'a.csv']) == 0\n"
        "sys.exit(' '.join({'torch', 'matplotlib.pyplot'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_needs_no_matplotlib() -> None:
    code = (
        "import sys\nfrom impasto.scripts.main import main\n"
        "try: main(['plot', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(' '.join({'matplotlib', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
