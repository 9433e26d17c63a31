"""`impasto demo` in its shortest form; the numbers of the full one are in the README."""

import html
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from impasto.cyclegan.models import painters
from impasto.data import list_pictures, read_size
from impasto.demo import called_as, spell_seconds
from impasto.gatys.jobs.stylize import StylizeResult, stylize
from impasto.options.stylize import StylizeOptions
from impasto.options.translate import DemoOptions
from impasto.runs import read_log
from impasto.scripts.main import main
from impasto.survey.key import read_key


@pytest.mark.slow
def test_the_tour_leaves_a_model_a_folder_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stylized: list[StylizeOptions] = []

    def stylize_and_note(options: StylizeOptions) -> StylizeResult:
        stylized.append(options)
        return stylize(options)

    monkeypatch.setattr("impasto.demo.stylize", stylize_and_note)
    demo = tmp_path / "demo"
    words = ["demo", "--output", str(demo), "--max_images", "8"]
    words += ["--train_pictures", "12", "--test_pictures", "2"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "before training" in printed
    assert "color distance (CIEDE2000)" in printed
    check_beginning(demo, printed)
    page = (demo / "index.html").read_text(encoding="utf-8")
    check_page(page, printed.splitlines())
    check_stylized(page, stylized.pop(), "lite", capsys)
    assert f"open {demo / 'index.html'}" in printed
    for link in (
        "painters.jpg",
        "monets/index.html",
        "translated/index.html",
        "checkpoints/demo/web/index.html",
        "study/index.html",
        "stylized.png",
    ):
        assert f'"{link}"' in page
        assert (demo / link).is_file()
    for photograph in list_pictures(demo / "photographs"):
        for folder in ("monets", "translated"):
            result = demo / folder / f"{photograph.stem}.png"
            assert read_size(result) == read_size(photograph)
    # A second tour starts afresh, on the pictures that are there.
    fakes = set((demo / "fakes").iterdir())
    shutil.copy(min(fakes), demo / "fakes" / "of_an_earlier_model.png")
    (demo / "study" / ".DS_Store").touch()  # somebody has looked at it
    monkeypatch.setattr("impasto.demo.find_lite_weights", lambda: None)
    assert main([*words, "--seed", "1"]) == 0
    again = (demo / "index.html").read_text(encoding="utf-8")
    check_stylized(again, stylized.pop(), "builtin", capsys)
    assert read_log(demo / "checkpoints" / "demo" / "log.jsonl") == []
    shown = {Path(one.source).name for one in read_key(demo / "study.key.json").pictures.values()}
    fakes = set((demo / "fakes").iterdir())
    assert {path.name for path in fakes} == {
        path.name for path in (demo / "domains/testB").iterdir()
    }
    assert {path.name for path in fakes} <= shown
    check_what_is_not_of_the_demo_stays(demo, words, capsys)


def check_beginning(demo: Path, printed: str) -> None:
    # The first thing that it says is where the sheet of the painters is, and then the Monets.
    assert f"open {demo / 'painters.jpg'}" in printed.split("2/7", maxsplit=1)[0]
    assert f"open {demo / 'monets' / 'index.html'}" in printed.split("3/7", maxsplit=1)[0]
    with Image.open(demo / "painters.jpg") as sheet:
        assert sheet.width > (1 + len(painters())) * 400  # a cell for each, and the photograph


def check_page(page: str, said: list[str]) -> None:
    assert "true painting" in page
    assert page.count('<input aria-label="Compare ') == 4
    # The best first; what a reader does next is last.
    headings = re.findall("<h2>(.*)</h2>", page)
    assert headings[:2] == ["One photograph in the painters' hands", "Photographs into Monets"]
    assert headings[-1] == "Now with your own pictures"
    assert re.search("What a training of ([0-9]+ minutes? ?)?([0-9]+ seconds?)? learns", page)
    assert said[-2].removeprefix("done in ").split(";")[0] in page
    assert said[-1].startswith("now with your own pictures: ")
    for command in re.findall("<code>(.*)</code>", page):
        typed = shlex.split(html.unescape(command))
        assert typed[: len(called_as())] == called_as()
        with pytest.raises(SystemExit) as ended:
            main([*typed[len(called_as()) :], "--print_config"])
        assert ended.value.code == 0, command


def check_stylized(
    page: str, made: StylizeOptions, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that the command on the page is of the options that the picture was made with."""
    commands = [shlex.split(html.unescape(text)) for text in re.findall("<code>(.*)</code>", page)]
    (words,) = [each for each in commands if f"--preset {preset}" in " ".join(each)]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*words[len(called_as()) :], "--print_config"])
    given = yaml.safe_load(capsys.readouterr().out)
    assert given["preset"] == made.preset == preset
    assert given["size"] == made.size
    assert tuple(given["iterations"]) == tuple(made.iterations)
    assert words[words.index("stylize") + 1 :][:2] == [str(made.content), *map(str, made.styles)]
    with Image.open(made.output) as picture:
        assert max(picture.size) == made.size


def check_what_is_not_of_the_demo_stays(
    demo: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # What has taken the place of the demo's study stays, and the demo says so at once.
    for name in ("study.key.json", "study.zip", "study/answers.csv"):
        kept = demo.parent / "kept"
        shutil.copytree(demo, kept)
        (kept / name).write_text("a researcher's", encoding="utf-8")
        before = contents(kept)
        capsys.readouterr()
        assert main([*words, "--output", str(kept)]) == 1
        said = capsys.readouterr()
        assert f"{kept / name.partition('/')[0]}: is not what an earlier demo wrote" in said.err
        assert "1/7" not in said.out
        assert contents(kept) == before
        shutil.rmtree(kept)


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "name",
    [
        "study.key.json",
        "study.zip",
        "study/index.html",
        "fakes/a.png",
        "photographs/rocket.jpg",
        "painters.jpg",
        "painters/a.png",
        "monets/rocket.png",
        "checkpoints/demo/state.pt",
        "index.html",
    ],
)
def test_what_the_demo_did_not_make_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a researcher's", encoding="utf-8")
    before = contents(tmp_path)
    assert main(["demo", "--output", str(tmp_path), "--max_images", "8"]) == 1
    said = capsys.readouterr()
    path = file if len(Path(name).parts) == 1 else file.parent
    assert f"{path}: is not what an earlier demo wrote" in said.err
    assert "choose another --output" in said.err
    assert said.out == ""
    assert contents(tmp_path) == before


def test_a_place_that_cannot_be_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["demo", "--output", str(file)]) == 1
    assert f"{file}: cannot be written (it is a file, not a folder)" in capsys.readouterr().err


def test_help_names_all_steps_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    story = text.split("[options] ")[1].split(".")[0]
    assert_in_order(
        story, "painters", "Monets", "domains", "train", "translate", "stylize", "survey"
    )
    listed = str(DemoOptions.__doc__)
    assert_in_order(
        listed, "painters", "Monets", "domains", "training", "translations", "stylized", "survey"
    )


def assert_in_order(text: str, *words: str) -> None:
    places = [text.find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train_pictures", "0"], "--train_pictures: must be at least 1, got 0"),
        (["--test_pictures", "1"], "--test_pictures: expected at least 2, got 1: the survey"),
    ],
)
def test_bad_numbers_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--output", str(tmp_path), *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.2, "0 seconds"), (1, "1 second"), (60, "1 minute"), (287.6, "4 minutes 48 seconds")],
)
def test_durations_are_spelled(seconds: float, says: str) -> None:
    assert spell_seconds(seconds) == says


def test_commands_begin_as_they_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "impasto"
    script.parent.mkdir()
    script.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(script), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called_as() == [str(script)]  # an environment that is not active, as of `make demo`
    monkeypatch.setenv("PATH", str(script.parent))
    assert called_as() == ["impasto"]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["/somewhere/impasto/__main__.py", "demo"])
    assert called_as() == [sys.executable, "-m", "impasto"]
