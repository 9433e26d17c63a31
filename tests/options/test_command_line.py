import os
import re
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import yaml

from impasto.options import (
    EvaluateOptions,
    ModelsOptions,
    PlotOptions,
    StylizeOptions,
    TrainOptions,
    TranslateOptions,
    WeightsOptions,
    flatten,
    make,
)
from impasto.options.backbone import BackboneOptions
from impasto.options.command_line import CommandParser
from impasto.options.config import preset_names
from impasto.options.fields import sections
from impasto.options.stylize import SweepOptions
from impasto.options.survey import (
    SurveyAuditOptions,
    SurveyExportOptions,
    SurveyImportOptions,
    SurveyPowerOptions,
    SurveyReportOptions,
    SurveyServeOptions,
)
from impasto.options.translate import DemoOptions

EVERY = [
    *(TrainOptions, BackboneOptions, TranslateOptions, ModelsOptions, DemoOptions, StylizeOptions),
    *(SweepOptions, EvaluateOptions, PlotOptions, WeightsOptions, SurveyExportOptions),
    *(SurveyAuditOptions, SurveyServeOptions, SurveyImportOptions, SurveyReportOptions),
    SurveyPowerOptions,
]


def parser() -> CommandParser:
    return CommandParser(
        "impasto train",
        TrainOptions,
        description="Train.",
        epilog="examples:\n  one\n  two\n",
        presets=".",
    )


def parse(*argv: str) -> TrainOptions:
    made = parser()
    return made.make(TrainOptions, made.parse(argv))


def test_nothing_given_is_the_defaults() -> None:
    assert parse() == TrainOptions()


def test_options_have_the_reference_s_flat_names() -> None:
    options = parse("--lr", "1e-4", "--netG=resnet_6blocks", "--flip", "false", "--name", "x")
    assert (options.schedule.lr, options.networks.netG) == (1e-4, "resnet_6blocks")
    assert (options.data.flip, options.run.name) == (False, "x")


def test_file_then_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("lr: 3e-4\nngf: 8\n", encoding="utf-8")
    for argv in (["--config", str(file), "--ngf", "16"], ["--ngf=16", f"--config={file}"]):
        options = parse(*argv)
        assert (options.schedule.lr, options.networks.ngf) == (3e-4, 16)
    later = tmp_path / "later.yaml"
    later.write_text("ngf: 4\n", encoding="utf-8")
    options = parse("--config", str(file), "--config", str(later))
    assert (options.schedule.lr, options.networks.ngf) == (3e-4, 4)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert parse("--config", str(tmp_path / "mine.yaml")) == TrainOptions()


def test_presets_go_by_name() -> None:
    assert preset_names() == sorted(preset_names())
    assert parse("--config", "monet2photo") == TrainOptions()
    assert parse("--config", "tiny").networks.ngf == 16


def test_printed_config_can_be_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--config", "tiny", "--lr", "1e-3", "--print_config")
    assert ended.value.code == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert parse("--config", str(file)) == parse("--config", "tiny", "--lr", "1e-3")


@pytest.mark.parametrize("printing", ["--print_config", "--print_config=skip_default"])
def test_what_follows_print_config_counts(
    printing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    words = ["--config", "tiny", "--lr", "1e-3"]
    for argv in ([printing, *words], [*words[:2], printing, *words[2:]], [*words, printing]):
        with pytest.raises(SystemExit) as ended:
            parse(*argv)
        assert ended.value.code == 0
        printed.append(yaml.safe_load(capsys.readouterr().out))
    assert printed[0] == printed[1] == printed[2]
    assert (printed[0]["lr"], printed[0]["ngf"]) == (1e-3, 16)
    assert ("beta1" in printed[0]) == (printing == "--print_config")
    with pytest.raises(SystemExit) as ended:
        parse(printing, "--config", "tiny", "--lr", "abc")
    assert ended.value.code == 2
    assert "--lr: expected a number, got abc" in capsys.readouterr().err


def test_a_wrong_way_to_print_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--print_config=all")
    assert "--print_config: expected nothing, or skip_default, got all" in capsys.readouterr().err


def test_a_folder_with_a_presets_name_is_not_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse("--config", "tiny").networks.ngf == 16


def test_a_run_directory_as_config_names_the_file_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.yaml").write_text("ngf: 8\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        parse("--config", str(tmp_path))
    assert str(tmp_path / "options.yaml") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--lrr", "3"], "did you mean --lr?"),
        (["--lambda_b", "3"], "did you mean --lambda_B"),
        (["--load_size", "x"], "--load_size: expected a whole number, got x"),
        (["--lr", "abc"], "--lr: expected a number, got abc"),
        (["--flip", "maybe"], "--flip: expected true or false, got maybe"),
        (["--netG", "resnet9"], "did you mean resnet_9blocks"),
        (["--config", "tinyy"], "neither a file nor a preset; did you mean tiny?"),
        (["--crop_size", "250"], "--crop_size: 250 is not a multiple of 4"),
        (["--load_siz", "300"], "did you mean --load_size?"),
        (["stray"], "expected no more arguments, got stray"),
        (["-n", "x"], "unknown option -n; did you mean --n_epochs or --n_epochs_decay or"),
        (["--lrr", "3", "--ngff", "x"], "--lrr; did you mean --lr?\n  unknown option --ngff"),
        (["--lr="], "--lr: expected a number, got nothing"),
        (["--max_dataset_size", "inf"], "got inf; for no limit, leave it out, or give null"),
    ],
)
def test_mistakes_exit_with_2_and_help(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*argv)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert "impasto train --help" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("options", EVERY)
def test_a_value_of_a_wrong_type_is_named_in_plain_words(
    options: type, capsys: pytest.CaptureFixture[str]
) -> None:
    hints = {
        field.name: field.type
        for kind in [*sections(options).values()] or [options]
        for field in fields(kind)
    }
    made = CommandParser("it", options, description="")
    for name, hint in hints.items():
        if {str, Path} & {hint, *get_args(hint)}:
            continue  # takes any word
        with pytest.raises(SystemExit) as ended:
            made.parse([f"--{name}", "x-y"])
        assert ended.value.code == 2
        message, *rest = capsys.readouterr().err.splitlines()
        kinds = "a (?:whole )?number(?: or \\w+)*|true or false|one of [^'<>]+|\\w+ or \\w+"
        assert re.fullmatch(rf"it: error: --{name}: expected (?:{kinds}), got x-y", message)
        assert rest == ["Try 'it --help'."]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--lr"], "--lr: expected a value"),
        (["--diffaugment"], "--diffaugment: expected one value or more"),
        (["--max_images", "many"], "--max_images: expected a whole number, got many"),
        (["--max_images", "?"], "--max_images: expected a whole number\n"),
        (["--upsample", "bilinaer"], "got bilinaer; did you mean bilinear?"),
    ],
)
def test_values_that_are_missing_or_misspelled(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(*argv)
    assert says in capsys.readouterr().err


def test_required_options_are_named_with_their_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    made = CommandParser("it", PlotOptions, description="", positionals="RUN [RUN ...]")
    made.add_argument("runs", nargs="+", metavar="RUN", help="runs")
    with pytest.raises(SystemExit):
        made.parse([])
    assert capsys.readouterr().err == "it: error: missing: --output, RUN\nTry 'it --help'.\n"
    assert made.format_usage() == "usage: it RUN [RUN ...] --output OUTPUT [options]\n"


def test_a_file_that_is_no_list_of_options_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    for text, line, says in (
        ("- lr\n", 1, "expected lines such as NAME: VALUE, got - lr"),
        ("ngf: 8\nlr: 1: 2\n", 2, "expected YAML with lines NAME: VALUE; mapping values are not"),
        ("lr 3\n", 1, "expected lines such as NAME: VALUE, got lr 3"),
        ("ngf: 8\n\tlr: 2\n", 2, "expected YAML with lines NAME: VALUE; indent with spaces"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit):
            parse("--config", str(file))
        assert f"--config: {file}, line {line}: {says}" in capsys.readouterr().err


@pytest.mark.parametrize("options", EVERY)
def test_printed_options_of_every_command_can_be_read_back(
    options: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = [f"--{word}=x" for word in ("output", "real", "key", "database", "action")]
    known = {field.name for field in fields(options)}
    argv = [word for word in needed if word[2:].split("=")[0] in known]
    if options is WeightsOptions:
        argv[-1] = "--action=list"
    printed = []
    for before in ([], ["--config", str(tmp_path / "0.yaml")]):
        with pytest.raises(SystemExit) as ended:
            CommandParser("it", options, description="").parse([*before, *argv, "--print_config"])
        assert ended.value.code == 0
        printed.append(capsys.readouterr().out)
        (tmp_path / "0.yaml").write_text(printed[0], encoding="utf-8")
    assert printed[0] == printed[1]


def test_only_changes_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--lr", "1e-3", "--diffaugment", "color", "--print_config=skip_default")
    assert capsys.readouterr().out == "diffaugment:\n- color\nlr: 0.001\n"


def test_unknown_key_in_a_file_shows_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("load_sise: 3\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        parse("--config", str(file))
    assert ended.value.code == 2
    assert "did you mean load_size?" in capsys.readouterr().err


def test_help_shows_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for name in flatten(TrainOptions()):
        assert f"--{name} " in printed
    assert "(default: 0.0002)" in printed
    assert "type:" not in printed
    assert "  one\n  two\n" in printed


def test_stored_options_are_defaults() -> None:
    made = parser()
    made.set_stored({**flatten(TrainOptions()), "lr": 0.5, "unknown_of_the_future": 1}, "x.yaml")
    options = made.make(TrainOptions, made.parse(["--ngf", "8"]))
    assert (options.schedule.lr, options.networks.ngf) == (0.5, 8)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_the_home_folder_may_be_written_as_a_shell_does(home: Path) -> None:
    # Which itself does not after "=", and never in a file.
    made = parse("--dataroot=~/photos", "--checkpoints_dir", "~/runs")
    assert made.data.dataroot == home / "photos"
    assert made.run.checkpoints_dir == home / "runs"
    file = home / "mine.yaml"
    file.write_text("dataroot: ~/paintings\ndisplay_env: ~/no_path\n", encoding="utf-8")
    made = parse("--config=~/mine.yaml")
    assert made.data.dataroot == home / "paintings"
    assert made.displays.display_env == "~/no_path"
    assert make(TrainOptions, {"dataroot": "~"}).data.dataroot == home
    for kept in ("a~b", "a/~/b", "~nobody_of_this_name/a"):
        assert parse(f"--dataroot={kept}").data.dataroot == Path(kept)


def test_the_home_folder_in_what_stands_alone_and_in_pairs(home: Path) -> None:
    made = CommandParser("impasto translate", TranslateOptions, description="", positionals="P")
    made.add_argument("photos", nargs="+")
    parsed = made.parse(["~/a", "b", "~nobody_of_this_name", "--output", "~/o"])
    assert list(parsed.photos) == [str(home / "a"), "b", "~nobody_of_this_name"]
    export = SurveyExportOptions(fake=("net=~/fake", "other=fake"), output=Path("x"))
    assert export.generators == {"net": home / "fake", "other": Path("fake")}
    classes = make(BackboneOptions, {"classes": ["cat=~/cats", "dog"], "dataroot": "all"})
    assert classes.data.class_folders == {"cat": home / "cats", "dog": Path("all/dog")}


@pytest.mark.skipif(sys.platform != "linux", reason="only there are names any bytes")
def test_names_whose_bytes_are_no_text_are_paths_like_others(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    made = parse("--dataroot", f"{odd}/\u6a21", "--display_env", odd)
    assert made.data.dataroot == Path(odd, "\u6a21")
    assert made.displays.display_env == odd
    resumed = parser()
    resumed.set_stored(flatten(made), "options.yaml")
    assert resumed.make(TrainOptions, resumed.parse(["--lr", "0.5"])).data == made.data
    file = tmp_path / f"{odd}.yaml"
    file.write_text("lr: 0.25\n", encoding="utf-8")
    assert parse("--config", str(file)).schedule.lr == 0.25


def stylize_words(*argv: str) -> tuple[bool, list[str]]:
    made = CommandParser("impasto stylize", StylizeOptions, description="", skip={"content"})
    made.add_argument("pictures", nargs="*")
    parsed = made.parse(argv)
    return parsed.overwrite, list(parsed.pictures)


@pytest.mark.parametrize(
    ("argv", "overwrite", "pictures"),
    [
        (["--overwrite", "a.jpg", "b.jpg"], True, ["a.jpg", "b.jpg"]),
        (["a.jpg", "b.jpg", "--overwrite"], True, ["a.jpg", "b.jpg"]),
        (["a.jpg", "--overwrite", "--size", "64"], True, ["a.jpg"]),
        (["--overwrite", "false", "a.jpg"], False, ["a.jpg"]),
        (["--overwrite", "True", "a.jpg"], True, ["a.jpg"]),
        (["--overwrite=false", "a.jpg"], False, ["a.jpg"]),
        (["a.jpg", "--", "b.jpg"], False, ["a.jpg", "b.jpg"]),
        (["--overwrite", "--", "b.jpg"], True, ["b.jpg"]),
    ],
)
def test_what_is_true_or_false_may_stand_bare(
    argv: list[str], overwrite: bool, pictures: list[str]
) -> None:
    assert stylize_words("--output", "out.png", *argv) == (overwrite, pictures)


def test_a_bare_option_before_another_and_a_misspelled_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parse("--cache_images", "--lr", "0.1").data.cache_images
    assert not parse("--flip", "no", "--color_skip").data.flip
    with pytest.raises(SystemExit, match="2"):
        parse("--flip", "ture")
    assert "--flip: expected true or false, got ture" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["50", "72", "100"])
def test_paragraphs_of_the_epilog_are_wrapped_as_a_whole(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    prose = "one two three four five six seven eight nine ten eleven twelve thirteen " * 4
    made = CommandParser(
        "impasto train",
        TrainOptions,
        description="",
        epilog="examples:\n  impasto train\n\n" + "\n".join(textwrap.wrap(prose, 98)) + "\n\nEnd.",
    )
    with pytest.raises(SystemExit, match="0"):
        made.parse(["--help"])
    examples, told, end = capsys.readouterr().out[-500:].rstrip().rsplit("\n\n", 2)
    assert examples.endswith("examples:\n  impasto train")
    assert told.splitlines() == textwrap.wrap(prose, int(columns) - 2)
    assert end == "End."
