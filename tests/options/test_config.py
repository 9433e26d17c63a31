"""Mistakes in a YAML file are named with its line; words mean what their option takes."""

from pathlib import Path

import pytest

from impasto.options import OptionError, StylizeOptions, TrainOptions, TranslateOptions
from impasto.options.backbone import BackboneOptions
from impasto.options.command_line import CommandParser
from impasto.options.config import read_config, read_typed_config
from impasto.options.fields import types_of


def read(options: type, text: str, tmp_path: Path) -> dict[str, object]:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return dict(read_typed_config(file, types_of(options)).values)


@pytest.mark.parametrize(
    ("options", "text", "says"),
    [
        (TranslateOptions, "\ndirection: btoa\n", "2: direction: expected AtoB or BtoA, got btoa;"),
        (TranslateOptions, "long_side: big", "1: long_side: expected a whole number, got big"),
        (TranslateOptions, "quality: 3.5", "1: quality: expected a whole number, got 3.5"),
        (TranslateOptions, "quality: true", "1: quality: expected a whole number, got true"),
        (TranslateOptions, "quality:", "1: quality: expected a whole number, got nothing"),
        (TranslateOptions, "quality: null", "1: quality: expected a whole number, got null"),
        (TranslateOptions, "model: [a, b]", "1: model: expected a path, got [a, b]"),
        (
            TranslateOptions,
            "# why\nlong_sid: 3",
            "2: long_sid: unknown option; did you mean long_s",
        ),
        (TranslateOptions, "quality: 3\nquality: 4", "2: quality: stands in line 1, too; keep one"),
        (TrainOptions, "lr: [1]", "1: lr: expected a number, got [1]"),
        (TrainOptions, "lr: nan", "1: lr: expected a number, got nan"),
        (TrainOptions, "schedule:\n  lr: 3", "1: schedule: unknown option; options stand at the"),
        (StylizeOptions, "style_weights: [1, much]", "1: style_weights: expected a number, or sev"),
        (
            StylizeOptions,
            "iterations:\n- 1\n- {a: 2}",
            "1: iterations: expected a whole number, or ",
        ),
        (StylizeOptions, "styles: {a: 3}", "1: styles: expected a path, or several in square brac"),
        (BackboneOptions, "depth: 17", "1: depth: expected 16 or 19, got 17"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    options: type,
    text: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "mine.yaml"
    with pytest.raises(OptionError) as error:
        read(options, text, tmp_path)
    assert str(error.value).startswith(f"{file}, line {says}")
    with pytest.raises(SystemExit) as ended:
        CommandParser("it", options, description="").parse(["--config", str(file)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"it: error: {error.value}\nTry 'it --help'.\n"


def test_a_value_that_another_refuses_is_named_with_its_line_unless_it_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("ngf: 8\ncrop_size: 250\n", encoding="utf-8")
    for more, says in ([], f"{file}, line 2: crop_size: 250 is"), (["251"], "--crop_size: 251 is"):
        parser = CommandParser("it", TrainOptions, description="")
        words = ["--config", str(file), *(f"--crop_size={value}" for value in more)]
        with pytest.raises(SystemExit):
            parser.make(TrainOptions, parser.parse(words))
        assert capsys.readouterr().err.startswith(f"it: error: {says} not a multiple of 4")


def test_words_mean_what_their_option_takes(tmp_path: Path) -> None:
    text = 'name: no\nmixed_precision: no\nflip: no\nlr: "2e-4"\nfolder_A: 2024\nfolder_B: ~\n'
    assert read(TrainOptions, text, tmp_path) == {
        "name": "no",
        "mixed_precision": "no",
        "flip": False,
        "lr": 2e-4,
        "folder_A": Path("2024"),
        "folder_B": None,
    }
    assert read(TrainOptions, "name: 007", tmp_path) == {"name": "007"}
    assert read(BackboneOptions, "depth: 16", tmp_path) == {"depth": 16}
    one = read(StylizeOptions, "style_weights: 3\nstyles: a.jpg", tmp_path)
    assert one == {"style_weights": [3.0], "styles": [Path("a.jpg")]}
    assert read(TrainOptions, "\ufeffngf: 8\r\nndf: 9\r\n", tmp_path) == {"ngf": 8, "ndf": 9}


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--config: .*none.yaml: no such file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(OptionError, match=r"is a folder; expected a YAML file"):
        read_config(tmp_path)
    (tmp_path / "photo.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(OptionError, match=r"photo.yaml: the file is not text"):
        read_config(tmp_path / "photo.yaml")


def test_a_program_gets_the_values_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lr: 2e-4\nsize: [1, 2]\n", encoding="utf-8")
    assert read_config(tmp_path / "a.yaml") == {"lr": 2e-4, "size": [1, 2]}


@pytest.mark.parametrize(
    ("text", "value"), [("010", 10), ("+7", 7), ("7", 7), ("1:30", None), ("0x10", None)]
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: int | None, tmp_path: Path) -> None:
    """YAML 1.2, 10.3.2: in version 1.1, 010 is eight, 1:30 is ninety."""
    if value is not None:
        assert read(TrainOptions, f"max_images: {text}", tmp_path) == {"max_images": value}
        return
    with pytest.raises(OptionError, match=f"expected a whole number, got {text}"):
        read(TrainOptions, f"max_images: {text}", tmp_path)
