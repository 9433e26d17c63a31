"""`impasto --print_completion`, in the shells that are here."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from impasto.cyclegan.models import SHIPPED
from impasto.scripts.main import COMMANDS, main
from impasto.scripts.outside.completion import words_of_help


@cache
def script(shell: str) -> str:
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.write", printed.append)
        assert main(["--print_completion", shell]) == 0
    return "".join(printed)


def completed(*words: str) -> list[str]:
    """Give what bash completes the last word to."""
    asked = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _impasto; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "-c", f"{script('bash')}\n{asked}", "bash", "impasto", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("",), list(COMMANDS)),
        (("survey", "a"), ["audit"]),
        (("translate", "--stroke"), ["--stroke_scale"]),
        (("translate", "photo.jpg", "--format", "p"), ["png"]),
        (("export", "monet", "--format", "t"), ["torchscript"]),
        (("survey", "export", "--prot"), ["--protocol"]),
        (("translate", "--model", ""), [*SHIPPED, "all"]),
        (("translate", "photo"), []),  # files, which bash finds itself
    ],
)
def test_bash_completes(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_all_shells_know_all_commands() -> None:
    for shell in ("bash", "fish", "zsh"):
        assert all(name in script(shell) for name in COMMANDS)
        assert "stroke_scale" in script(shell)


def test_fish_tells_commands_from_actions_of_the_same_name() -> None:
    lines = [
        line for line in script("fish").splitlines() if line.endswith(("-l direction", "BtoA'"))
    ]
    own = "__fish_seen_subcommand_from export; and not __fish_seen_subcommand_from survey'"
    assert [own in line for line in lines if "from export" in line] == [True]
    actions = [line for line in script("fish").splitlines() if "from survey; and" in line]
    assert any("-l protocol" in line and "not" not in line for line in actions)


def test_what_a_shell_cannot_read_is_no_script(tmp_path: Path) -> None:
    for shell in ("bash", "fish", "zsh"):
        if shutil.which(shell) is not None:
            file = tmp_path / shell
            file.write_text(script(shell))
            subprocess.run([shell, "-n", file], check=True)


def test_options_are_read_from_a_help() -> None:
    text = "options:\n  -h, --help  show\n  --kind {a,b}  which --not one\n  --path PATH  p\n"
    assert words_of_help(text) == {"--help": [], "--kind": ["a", "b"], "--path": []}


@pytest.mark.parametrize("words", [["tcsh"], []])
def test_other_shells_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print_completion", *words]) == 2
    assert "expected bash, fish, zsh, got" in capsys.readouterr().err
