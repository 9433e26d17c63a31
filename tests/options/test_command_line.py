from pathlib import Path

import pytest

from impasto.options import TrainOptions, flatten
from impasto.options.command_line import CommandParser, preset_names


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
    options = parse("--config", str(file), "--ngf", "16")
    assert (options.schedule.lr, options.networks.ngf) == (3e-4, 16)


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
        (["stray"], "stray"),
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
    made.set_stored({**flatten(TrainOptions()), "lr": 0.5, "unknown_of_the_future": 1})
    options = made.make(TrainOptions, made.parse(["--ngf", "8"]))
    assert (options.schedule.lr, options.networks.ngf) == (0.5, 8)
