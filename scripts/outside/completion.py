"""Completion of `impasto` in shells: commands, their actions, options, and values of options.

What there is to complete is read from the help of every command, which tests keep in form. The
script holds it all, so that a shell never has to start Python.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from typing import Protocol

from impasto.cyclegan.models import SHIPPED
from impasto.options.errors import OptionError

__all__ = ["SHELLS", "completion", "words_of_help"]


class _Node(Protocol):
    """A command, as `scripts.main` describes it."""

    @property
    def text(self) -> str:
        """One line of help."""

    @property
    def actions(self) -> Mapping[str, "_Node"]:
        """Its actions, by name."""


@dataclass(frozen=True, kw_only=True)
class _Words:
    """What can follow some words: names with a line of help each, and values of options."""

    names: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)


_OPTION = re.compile(r"^  (?:-h, )?--(\w+)(?:\[=\w+\])?(?: \{([^}]*)\})?", re.MULTILINE)


def words_of_help(text: str) -> dict[str, list[str]]:
    """Return the options in the help of a command, each with its values where those are few."""
    return {
        f"--{match[1]}": match[2].split(",") if match[2] else [] for match in _OPTION.finditer(text)
    }


def completion(shell: str, root: _Node, run: "_Run") -> str:
    """Return the script that completes `impasto` in a shell.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.
        root: all commands.
        run: function that runs a command by its words, and so prints its help.

    Raises:
        OptionError: there is no such shell here.
    """
    if shell not in SHELLS:
        raise OptionError("print_completion", f"expected {', '.join(SHELLS)}, got {shell!r}")
    return SHELLS[shell](dict(_gather(root, (), run)))


class _Run(Protocol):
    """Runs a command by the words after `impasto`."""

    def __call__(self, argv: Sequence[str]) -> int:
        """Return the exit status."""


def _gather(node: _Node, words: tuple[str, ...], run: _Run) -> "list[tuple[str, _Words]]":
    key = " ".join(words)
    if not node.actions:
        options = words_of_help(_help(words, run))
        if "--model" in options:
            options["--model"] = [*SHIPPED, "all"]
        return [(key, _Words(options=options))]
    names = {name: action.text for name, action in node.actions.items()}
    found = [(key, _Words(names=names, options={"--help": []}))]
    for name, action in node.actions.items():
        found += _gather(action, (*words, name), run)
    return found


def _help(words: Sequence[str], run: _Run) -> str:
    printed = StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "400"  # wide, so that an option stands in one line with its values
    try:
        with redirect_stdout(printed), suppress(SystemExit):
            run([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue()


_BASH = """# Completion of impasto for bash: source it, or put it into
# ~/.local/share/bash-completion/completions/impasto
_impasto() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" key="" next
    for next in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$key $next" in
{walk}            *) break ;;
        esac
    done
    case "$key $before" in
{values}    esac
    local words="" plain=""
    case "$key" in
{words}    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        COMPREPLY=($(compgen -W "$plain" -- "$word"))
    fi
}}
complete -o default -F _impasto impasto
"""


def _bash(known: Mapping[str, _Words]) -> str:
    """Return the script for bash; where nothing fits, it completes files."""
    walk = "".join(
        f'            "{parent} {name}") key="{f"{parent} {name}".strip()}" ;;\n'
        for key in known
        if key
        for parent, _, name in [key.rpartition(" ")]
    )
    values = "".join(
        f'        "{key} {option}") COMPREPLY=($(compgen -W "{" ".join(some)}" -- "$word")); '
        "return ;;\n"
        for key, words in known.items()
        for option, some in words.options.items()
        if some
    )
    words = "".join(
        f'        "{key}") words="{" ".join([*one.names, *one.options])}"; '
        f'plain="{" ".join(one.names)}" ;;\n'
        for key, one in known.items()
    )
    return _BASH.format(walk=walk, values=values, words=words)


_ZSH = """#compdef impasto
# Completion of impasto for zsh: put it as _impasto into a folder of $fpath, before compinit.
autoload -U +X bashcompinit && bashcompinit
"""


def _zsh(known: Mapping[str, _Words]) -> str:
    """Return the script for zsh, which has bash's completion."""
    script = _bash(known)
    return _ZSH + script[script.index("_impasto() {") :]


def _fish(known: Mapping[str, _Words]) -> str:
    """Return the script for fish."""
    lines = [
        "# Completion of impasto for fish: put it into ~/.config/fish/completions/impasto.fish"
    ]
    for key, one in known.items():
        conditions = [f"__fish_seen_subcommand_from {word}" for word in key.split()]
        if one.names:
            conditions.append(f"not __fish_seen_subcommand_from {' '.join(one.names)}")
        # Of a command whose name is also that of an action, as export and survey export.
        if others := [parent for parent in known if parent and key in known[parent].names]:
            conditions.append(f"not __fish_seen_subcommand_from {' '.join(others)}")
        condition = "; and ".join(conditions)
        for name, text in one.names.items():
            lines.append(
                f"complete -c impasto -n {_quoted(condition)} -xa {name} -d {_quoted(text)}"
            )
        for option, some in one.options.items():
            given = f" -xa {_quoted(' '.join(some))}" if some else ""
            lines.append(
                f"complete -c impasto -n {_quoted(condition)} -l {option.lstrip('-')}{given}"
            )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": _bash, "fish": _fish, "zsh": _zsh}
"""What writes the script of each shell."""
