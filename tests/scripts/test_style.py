"""`impasto style train`: its mistakes are told before anything is computed."""

from pathlib import Path

import pytest
from PIL import Image

from impasto.scripts.main import main


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "--styles: is missing; name one or more paintings"),
        (["--styles", "PAINTING"], "--photos: is missing; name a folder of photographs"),
        (["--styles", "PAINTING", "--photos", "FOLDER/phots"], "did you mean FOLDER/photos?"),
        (["--styles", "FOLDER/no.jpg", "--photos", "FOLDER"], "no.jpg: no such file"),
        (["--styles", "PAINTING", "--photos", "FOLDER", "--crop_size", "99"], "no multiple of 4"),
        (["--styles", "PAINTING", "--photos", "FOLDER", "--crop_size", "600"], "is smaller than"),
        (["--styles", "PAINTING", "--photos", "FOLDER", "--ema_decay", "1"], "below 1"),
        (["--resume"], "checkpoints"),
    ],
)
def test_mistakes_are_told(
    argv: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "wave.jpg").touch()

    def place(word: str) -> str:
        return word.replace("PAINTING", str(tmp_path / "wave.jpg")).replace("FOLDER", str(tmp_path))

    try:
        status = main(["style", "train", *map(place, argv)])
    except SystemExit as ended:  # of the parser
        status = int(str(ended.code))
    assert status != 0
    told = capsys.readouterr().err
    assert place(says) in told
    assert "Traceback" not in told


def test_the_help_says_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["style", "train", "--help"])
    shown = capsys.readouterr().out
    assert "--style great_wave:0.7,the_scream:0.3" in shown
    assert "--max_minutes" in shown


def test_a_style_of_a_model_without_styles_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    argv = [str(tmp_path / "photo.png"), "--style", "wave", "--output", str(tmp_path / "out")]
    assert main(["translate", *argv]) == 2
    assert "--style: wave: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
