import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from impasto.data.files import list_pictures
from impasto.options import FolderError, OptionError
from impasto.runs.signals import Stopped
from impasto.scripts.main import COMMANDS, main

WITH_ACTIONS = [name for name, command in COMMANDS.items() if command.actions]
# Every command that does something, as the words that call it.
LEAVES = [
    *([name] for name, command in COMMANDS.items() if not command.actions),
    *([name, action] for name in WITH_ACTIONS for action in COMMANDS[name].actions),
]


def test_help_lists_all_commands_under_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    listed = [
        line.split()[0] for line in printed.split("examples:")[0].splitlines() if "  " in line
    ]
    assert listed == list(COMMANDS)
    assert all(f"\n{command.group}:\n" in printed for command in COMMANDS.values())
    assert max(map(len, printed.splitlines())) <= 80
    assert main([]) == 2


@pytest.mark.parametrize("command", WITH_ACTIONS)
def test_a_command_with_actions_lists_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"usage: impasto {command} ACTION [options]" in printed
    assert all(f"\n  {name} " in printed for name in COMMANDS[command].actions)
    assert f"examples:\n  impasto {command} " in printed
    assert main([command]) == 2
    assert capsys.readouterr().out == printed


def test_examples_in_the_help_name_commands_that_there_are() -> None:
    examples = [line for command in COMMANDS.values() for line in command.examples]
    assert examples
    for example in examples:
        words = example.split()
        leads_to = COMMANDS[words[1]]
        assert words[0] == "impasto"
        assert not leads_to.actions or words[2] in leads_to.actions


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("impasto 0.")


def test_unknown_command_shows_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    said = capsys.readouterr().err
    assert "impasto: error: unknown command 'trian'; did you mean train?" in said
    assert "Try 'impasto --help'." in said
    assert main(["test"]) == 2  # the reference's test.py
    assert "unknown command 'test'; did you mean translate?" in capsys.readouterr().err


def test_unknown_action_shows_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", "exprt"]) == 2
    said = capsys.readouterr().err
    assert "impasto survey: error: unknown action 'exprt'; did you mean export" in said
    assert "Try 'impasto survey --help'." in said


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_help_with_examples(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: impasto {' '.join(words)} " in printed
    assert f"examples:\n  impasto {' '.join(words)}" in printed


def test_no_help_imports_torch() -> None:
    code = (
        "import sys\nfrom impasto.scripts.main import main\n"
        f"for words in {[[], *LEAVES]}:\n"
        "    try: main([*words, '--help'])\n    except SystemExit: pass\n"
        "    if 'torch' in sys.modules: sys.exit(str(words))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (FolderError(Path("photos"), "no such folder"), 1, "photos: no such folder"),
        (OptionError("lr", "-1 is not above 0"), 2, "--lr: -1 is not above 0"),
        (OSError(28, "No space left", "a/b"), 1, "a/b: No space left"),
        (KeyboardInterrupt(), 130, "stopped"),
        (Stopped(signal.SIGTERM), 143, "stopped"),
    ],
)
def test_mistakes_become_one_message(
    error: BaseException,
    status: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken:
        @staticmethod
        def main(_argv: object) -> int:
            raise error

    monkeypatch.setattr("importlib.import_module", lambda _name: Broken)
    for words in (["train"], ["survey", "export"]):
        assert main(words) == status
        called = f"impasto {' '.join(words)}: {'' if status > 128 else 'error: '}"
        assert capsys.readouterr().err == f"{called}{says}\n"


def test_a_reader_that_stops_listening_is_no_error() -> None:
    # `impasto --help | head -1`: the pipe is closed before the text is out.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", "from impasto.scripts.main import main; main(['--help'])"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_command_ends_on_signals_by_their_status(
    words: list[str],
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Slow:
        @staticmethod
        def main(_argv: object) -> int:
            os.kill(os.getpid(), number)
            time.sleep(5)
            return 0

    monkeypatch.setattr("importlib.import_module", lambda _name: Slow)
    assert main(words) == 128 + number
    assert capsys.readouterr().err == f"impasto {' '.join(words)}: stopped\n"


PRINTS_NAMES = """
import importlib, logging, sys
from impasto.scripts import main
class Printing:
    @staticmethod
    def main(argv):
        from tqdm import tqdm
        name = "caf\\xe9 \\u6a21 \\udcff"
        print(name)
        print(name, file=sys.stderr)
        logging.warning(name)
        with tqdm([1], file=sys.stderr, desc=name) as bar:
            bar.write(name)
            bar.update()
        return 0
importlib.import_module = lambda name: Printing
raise SystemExit(main.main(["models"]))
"""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", b"caf\\xe9 \\u6a21 \\udcff"),
        ("cp1252", b"caf\xe9 \\u6a21 \\udcff"),
        ("utf-8", "caf\xe9 \u6a21 \\udcff".encode()),
    ],
)
def test_names_that_a_terminal_does_not_know_are_escaped(encoding: str, shown: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_NAMES],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0
    assert done.stdout == (shown + b"\n") * 2
    assert done.stderr.count(shown) >= 3


def test_without_any_stream_a_command_works() -> None:
    # As pythonw and some services start it.
    code = "import sys; from impasto.scripts.main import main; sys.exit(main(['--version']))"
    closed = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -c "{code}" >&- 2>&-'], check=False
    )
    assert closed.returncode == 0


def test_a_full_disk_behind_the_output_is_no_traceback() -> None:
    code = "import sys; from impasto.scripts.main import main; sys.exit(main(['--help']))"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_readers_of_pictures_say_nothing_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their complaints have no file name; what is said of a file is ours."""

    def command(_argv: object) -> int:
        logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded")
        warnings.warn_explicit("Corrupt EXIF data", UserWarning, "f", 1, module="PIL.Image")
        logging.getLogger("impasto.data.decode").warning("a.tif: very dark")
        return 0

    monkeypatch.setattr("impasto.scripts.models.main", command)
    before = {name: logging.getLogger(name).level for name in ("PIL", "tifffile")}
    with warnings.catch_warnings():
        assert main(["models"]) == 0
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    said = capsys.readouterr().err
    assert "samples" not in said
    assert "EXIF" not in said


@pytest.mark.parametrize("name", ["models", "train"])
def test_what_was_not_looked_at_is_told_once(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in ("a.png", "b.mov", "c.mov"):
        (tmp_path / file).touch()

    def command(_argv: object) -> int:
        for _ in range(2):
            list_pictures(tmp_path)
        sys.stderr.write("done\n")
        return 0

    monkeypatch.setattr(f"impasto.scripts.{name}.main", command)
    note = (
        f"note: {tmp_path}: 2 files (2 .mov) not looked at, as their names do not end like those "
        "of pictures"
    )
    assert main([name]) == 0
    # A training tells it before its long work, the others in their last lines.
    lines = [note, "done"] if name == "train" else ["done", note]
    assert capsys.readouterr().err.splitlines() == lines
    monkeypatch.setenv("RANK", "1")
    assert main([name]) == 0
    assert capsys.readouterr().err.splitlines() == ["done"]
