"""A directive of the site: the help of every command, as `impasto COMMAND --help` prints it."""

from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from io import StringIO

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from impasto.scripts.main import COMMANDS, Command, main


def words_of(
    commands: Mapping[str, Command] = COMMANDS, before: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the words that call each command, and each action after its command."""
    for name, command in commands.items():
        yield (*before, name)
        yield from words_of(command.actions, (*before, name))


def help_of(words: tuple[str, ...]) -> str:
    """Return the help of a command.

    Raises:
        RuntimeError: if the command prints none.
    """
    printed = StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        main([*words, "--help"])
    text = "".join(c for c in printed.getvalue() if c.isprintable() or c == "\n")
    if not text.startswith("usage:"):
        raise RuntimeError(f"impasto {' '.join(words)} --help prints no help")
    return text


class CommandsDirective(SphinxDirective):
    """Stands for one section per command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        sections: list[nodes.Node] = []
        for words in words_of():
            title = " ".join(("impasto", *words))
            section = nodes.section(ids=["-".join(words)], names=[title])
            section += nodes.title(text=title)
            text = help_of(words)
            section += nodes.literal_block(text, text, language="text", classes=["help"])
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("commands", CommandsDirective)
    return {"parallel_read_safe": True}
