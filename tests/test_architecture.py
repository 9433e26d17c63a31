"""The rules of the tree: imports point down, modules stay small, everything is shipped."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "options": set(),
    "data": {"options"},
    "runs": {"options", "data"},
    "cyclegan": {"options", "data", "runs"},
    "gatys": {"options", "data", "runs"},
    "survey": {"options", "data", "runs"},
    "scripts": {"options", "data", "runs", "cyclegan", "gatys", "survey"},
}
MODULES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def imported_folders(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("giverny."))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    assert set(imported_folders(path)) <= MAY_IMPORT[folder] | {folder}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_folders_are_flat() -> None:
    presets = {"options/presets", "options/presets/backbones", "options/presets/sweeps"}
    allowed = presets | {"survey/page", "cyclegan/weights"}
    found = {
        name_of(path)
        for folder in MAY_IMPORT
        for path in (ROOT / folder).rglob("*")
        if path.is_dir() and path.name != "__pycache__"
    }
    assert found <= allowed


def test_packages_equal_what_is_on_disk() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    on_disk = {
        f"giverny.{path.parent.name}"
        for path in ROOT.glob("*/__init__.py")
        if path.parent.name != "tests"
    }
    assert listed == on_disk == {f"giverny.{folder}" for folder in MAY_IMPORT}


@pytest.mark.parametrize(
    "statement",
    [
        "import giverny.options, giverny.options.command_line",
        "import giverny.survey",
        "import giverny.data; from giverny.data import read_picture, write_picture, list_pictures",
        "import giverny.scripts.main, giverny.scripts.train, giverny.scripts.translate",
    ],
)
def test_starts_without_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
