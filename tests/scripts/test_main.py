import os
import subprocess
import sys
from pathlib import Path

import pytest

from impasto.options import FolderError, OptionError
from impasto.scripts.main import COMMANDS, main


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)
    assert main([]) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("impasto 0.")


def test_unknown_command_shows_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "unknown command 'trian'; did you mean train?" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: impasto {command}" in printed
    assert "examples:" in printed


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_does_not_import_torch(command: str) -> None:
    code = (
        "import sys\nfrom impasto.scripts.main import main\n"
        f"try: main(['{command}', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
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
    assert main(["train"]) == status
    assert capsys.readouterr().err == f"impasto train: {'' if status == 130 else 'error: '}{says}\n"


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
