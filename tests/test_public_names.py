"""Every package lists its public names: sorted, importable, documented; their examples run."""

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
FOLDERS = ["cyclegan", "data", "gatys", "impasto", "options", "runs", "scripts"]
FOLDERS += ["styles", "survey"]
FILES = {
    ".".join(("impasto", *path.relative_to(ROOT).with_suffix("").parts))
    .replace("impasto.impasto", "impasto")
    .removesuffix(".__init__"): path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__main__.py"
    # A sub-package says in its docstring in which order to read it, and exports nothing.
    and not (path.name == "__init__.py" and len(path.relative_to(ROOT).parts) > 2)
}


def modules() -> Iterator[tuple[str, ModuleType]]:
    return ((name, importlib.import_module(name)) for name in sorted(FILES))


def constants_classes_functions(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def undocumented(module: ModuleType) -> Iterator[str]:
    for public in module.__all__:
        thing = getattr(module, public)
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not thing.__doc__:
            yield public


def test_public_names_are_sorted_and_listed_once() -> None:
    unsorted = [
        name
        for name, module in modules()
        if list(module.__all__) != sorted(set(module.__all__), key=constants_classes_functions)
    ]
    assert not unsorted


def test_public_names_are_present_and_documented() -> None:
    missing = {name: list(undocumented(module)) for name, module in modules()}
    assert not {name: public for name, public in missing.items() if public}


def test_every_public_definition_is_listed() -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    unlisted = []
    for name, module in modules():
        tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, kinds)}
        public = {definition for definition in defined if not definition.startswith("_")}
        unlisted += [f"{name}.{definition}" for definition in public - set(module.__all__)]
    assert not unlisted


def test_docstring_examples() -> None:
    assert not [name for name, module in modules() if doctest.testmod(module).failed]


def test_sub_packages_say_in_which_order_to_read_them() -> None:
    inits = [path for folder in FOLDERS for path in (ROOT / folder).glob("*/__init__.py")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in inits}
    assert len(trees) > 10
    assert not [path for path, tree in trees.items() if not ast.get_docstring(tree)]
