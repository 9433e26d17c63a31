"""The help of every command, as it is printed, and its messages about values of a wrong type."""

import re
from functools import cache

import pytest

from impasto.scripts.main import COMMANDS, main

WIDTH = 100
LEAVES = [
    *([name] for name, command in COMMANDS.items() if not command.actions),
    *([name, action] for name, command in COMMANDS.items() for action in command.actions),
]
PYTHON = re.compile(r"<class|\bUnion\b|typing|NoneType|Path\)|\btype:|\bNone\b|\bnull\b|Namespace")
OPTION = re.compile(r"^  (?:-h, )?--(\w+)(.*)")
# What a phrase cannot end with.
DANGLING = re.compile(r"(?:[,;:-]|\b(?:a|an|the|of|and|or|nor|as|than|is|are|with|by))$")

pytestmark = pytest.mark.parametrize("command", LEAVES, ids=" ".join)


@cache
def rendered(*command: str) -> str:
    """Print the help of a command in a terminal of 100 columns."""
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(WIDTH + 2))  # argparse keeps two columns free
        patch.setattr("sys.stdout.write", printed.append)
        # Generators that other tests register make the line of --netG longer.
        patch.setattr("impasto.options.fields._ADDED", {})
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
    assert ended.value.code == 0
    return "".join(printed)


def blocks(text: str) -> dict[str, tuple[str, str]]:
    """Read a help back: for each argument its heading and its text, in one line."""
    heading, name = "", ""
    texts: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading, name = line.removesuffix(":"), ""
            if heading in {"examples", "actions"}:  # the epilog
                break
        elif not line.strip() or not heading:
            name = ""
        elif line.startswith(" " * 24) and name:
            texts[name] = (heading, f"{texts[name][1]} {line.strip()}".strip())
        elif line.startswith("  "):
            option = OPTION.match(line)
            name = f"--{option[1]}" if option else line[2:24].strip()
            texts[name] = (heading, line[24:].strip() if line[22:24] == "  " else "")
    return texts


def options_of(command: list[str]) -> dict[str, tuple[str, str]]:
    return {name: text for name, text in blocks(rendered(*command)).items() if name[0] == "-"}


def test_no_line_is_long_and_none_speaks_python(command: list[str]) -> None:
    text = rendered(*command)
    assert not [line for line in text.splitlines() if len(line) > WIDTH]
    assert not PYTHON.findall(text)
    assert "(default: )" not in text
    assert "\b" not in text


def test_every_argument_has_a_text_that_is_a_whole_phrase(command: list[str]) -> None:
    texts = blocks(rendered(*command))
    assert len(texts) >= 4
    for name, (_, text) in texts.items():
        phrase = re.sub(r" \((?:default: .*|required)\)$", "", text)
        assert len(phrase.split()) >= 2, name
        assert not phrase.lower().startswith("of "), name
        assert not re.search(r"unless given|\bso many\b|, say$", phrase), name
        assert not DANGLING.search(phrase), f"{name}: {phrase}"
        assert phrase.count("(") == phrase.count(")"), name
        assert text.count("(default:") <= 1, name


def test_options_stand_in_groups(command: list[str]) -> None:
    general = {name for name, (heading, _) in options_of(command).items() if heading[0] == "g"}
    assert general == {"--help", "--config", "--print_config"}
    headings = [heading for heading, _ in options_of(command).values()]
    assert headings == sorted(headings, key=headings.index)  # no group comes twice
    assert all(
        len(heading) <= 40 and heading.islower() for heading in headings if "VGG" not in heading
    )
