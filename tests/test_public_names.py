"""Every package lists its public names: sorted, importable, documented; their examples run."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["cyclegan", "data", "gatys", "options", "runs", "scripts", "survey"]
MODULES = sorted(
    f"giverny.{package}.{path.stem}"
    for package in PACKAGES
    for path in (ROOT / package).glob("*.py")
    if path.stem != "__init__"
)


def constants_classes_functions(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", [f"giverny.{package}" for package in PACKAGES] + MODULES)
def test_public_names_are_sorted_present_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    names = list(module.__all__)
    assert names == sorted(names, key=constants_classes_functions)
    assert len(names) == len(set(names))
    for public in names:
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_definition_is_listed(name: str) -> None:
    path = ROOT / Path(*name.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = {node.name for node in tree.body if isinstance(node, kinds)}
    public = {definition for definition in defined if not definition.startswith("_")}
    assert public <= set(importlib.import_module(name).__all__)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
