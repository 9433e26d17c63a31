"""`giverny demo` in its shortest form; the numbers of the full one are in the README."""

from pathlib import Path

import pytest

from giverny.data import list_pictures, read_size
from giverny.runs import read_log
from giverny.scripts.main import main


@pytest.mark.slow
def test_the_tour_leaves_a_model_a_folder_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = tmp_path / "demo"
    words = ["demo", "--output", str(demo), "--max_images", "8"]
    words += ["--train_pictures", "12", "--test_pictures", "4"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "before training" in printed
    assert "colour distance (CIEDE2000)" in printed
    assert f"open {demo / 'index.html'}" in printed
    # The first thing that it says is where the Monets are.
    assert f"open {demo / 'monets' / 'index.html'}" in printed.split("2/6")[0]
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert "true painting" in page
    for link in (
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
    assert main(words) == 0
    assert read_log(demo / "checkpoints" / "demo" / "log.jsonl") == []


def test_bad_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--output", str(tmp_path), "--train_pictures", "0"])
    assert ended.value.code == 2
    assert "--train_pictures: 0 is below" in capsys.readouterr().err
