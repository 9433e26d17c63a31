"""The site: README, the guides of docs/ and the reference, built from the root of the repository.

Sources lie where GitHub shows them, so that a link between two pages works in both places. Building
imports the package and reads nothing from the network.
"""

import os
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python._object import PyObject

# Line length of the help texts: as many characters as a block of code shows.
os.environ["COLUMNS"] = "90"
sys.path.insert(0, str(Path(__file__).parent))

from impasto.version import __version__

project = "Impasto"
author = "the Impasto authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "commands",
]
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**"]
exclude_patterns = [".*", "build", "docs/site", "**/__pycache__"]
# Parentheses of a class or function are no part of its name in the table of contents.
add_function_parentheses = False

myst_enable_extensions = ["dollarmath"]
# The sections of a page that others link to, named as GitHub names them.
myst_heading_anchors = 3

highlight_language = "none"
# A single backtick links what is documented, and shows anything else as code.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"Impasto {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
# The first page is README.html; a server and a reader of the folder look for index.html.
html_additional_pages = {"index": "first_page.html"}
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

_CONTENTS = """

```{toctree}
:hidden:
:glob:
:caption: Translate

docs/translating
docs/films
docs/large_pictures
docs/cluster
docs/app
docs/export
docs/fetching
docs/training
docs/paired
docs/other_images
docs/little_data
docs/watching
docs/evaluating
docs/model_card
docs/painters/*
docs/from_the_reference
docs/machines
docs/performance
```

```{toctree}
:hidden:
:caption: Stylize

docs/stylizing
docs/backbones
docs/sweeps
```

```{toctree}
:hidden:
:caption: Ask people

docs/survey
docs/survey_server
docs/survey_report
```

```{toctree}
:hidden:
:caption: Reference

docs/python
docs/commands
docs/api/index
CHANGELOG
CONTRIBUTING
```
"""


def _prepare_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Name pages by their titles where they are linked by file, and add the contents to the first.

    GitHub would show the directives of the contents as code.
    """
    source[0] = re.sub(r"\[(?:docs/)?(\w+)\.md\]\(((?:docs/)?\1\.md[^)]*)\)", r"[](\2)", source[0])
    if name == app.config.root_doc:
        source[0] += _CONTENTS


_ARRAY = re.compile(r"numpy\.ndarray\[tuple\[[\w.~]*Any, \.\.\.\], ~?numpy\.dtype\[([\w.~]+)\]\]")


def _shorten_arrays(types: str) -> str:
    """Write the types of arrays as the code does: ``NDArray[uint8]``."""
    return _ARRAY.sub(r"numpy.typing.NDArray[\1]", types)


_help_texts: dict[str, list[str]] = {}


def _keep_help(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Keep help texts of options as they are: napoleon takes words before a colon for a type."""
    if what == "attribute" and name.startswith("impasto.options."):
        _help_texts[name] = [re.sub(r"([\\*|`_])", r"\\\1", line) for line in lines]


def _finish_docstring(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Put help texts back, and shorten the names of the types of attributes."""
    lines[:] = _help_texts.pop(name, lines)
    for place, line in enumerate(lines):
        if line.startswith(":vartype"):
            lines[place] = re.sub(r"(?<![\w.~])((?:\w+\.)+)(?=\w)", r"~\1", _shorten_arrays(line))


def _finish_signature(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    arguments: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Shorten the types of arrays."""
    return arguments and _shorten_arrays(arguments), result and _shorten_arrays(result)


def _tidy(app: Sphinx, page: nodes.document) -> None:
    """Show default paths as they are written, and no bases where there is only ``object``."""
    for text in list(page.findall(nodes.Text)):
        if "PosixPath(" in text:
            text.parent.replace(text, nodes.Text(text.replace("PosixPath(", "Path(")))
    for paragraph in list(page.findall(nodes.paragraph)):
        if paragraph.astext() == "Bases: object":
            paragraph.parent.remove(paragraph)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("source-read", _prepare_page)
    app.connect("autodoc-process-docstring", _keep_help, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _finish_docstring, priority=600)  # after it
    app.connect("autodoc-process-signature", _finish_signature)
    app.connect("doctree-read", _tidy)
