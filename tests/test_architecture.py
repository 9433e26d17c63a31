"""The rules of the tree: imports point down, rooms stay small, everything is shipped."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
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
    "scripts": {"options", "data", "runs", "cyclegan", "gatys", "survey", "impasto"},
    "impasto": {"options", "data", "runs", "cyclegan", "gatys", "survey", "scripts"},
}
MOST_LINES = 700
MODULES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Give the dotted name of a module under its folder, such as ``data.decode``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Give what of ours a module imports, as ``data.decode`` or, with the name, a longer one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("impasto.") for name in names if name.startswith("impasto."))


def arrows(of: Iterable[Path]) -> Iterator[tuple[str, str]]:
    return ((name_of(path), name) for path in of for name in imported(path))


def test_imports_point_down() -> None:
    upward = [
        f"{module} imports {name}"
        for module, name in arrows(MODULES)
        if name.split(".")[0] not in MAY_IMPORT[module.split(".")[0]] | {module.split(".")[0]}
    ]
    assert not upward


def test_modules_stay_small() -> None:
    lines = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_packages_equal_what_is_on_disk() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    on_disk = [
        f"impasto.{name_of(path)}".removesuffix(".impasto").replace("impasto.impasto.", "impasto.")
        for path in MODULES
        if path.name == "__init__.py"
    ]
    assert sorted(listed) == sorted(on_disk)
    folders = dict(
        line.split(" = ") for line in config["options"]["package_dir"].strip().split("\n")
    )
    assert folders == {"impasto": "impasto"} | {
        f"impasto.{folder}": folder for folder in MAY_IMPORT if folder != "impasto"
    }


@pytest.mark.parametrize(
    "statement",
    [
        "import impasto; impasto.__version__",
        "import impasto.options, impasto.options.command_line",
        "import impasto.survey",
        "import impasto.data; from impasto.data import read_picture, write_picture, list_pictures",
        "import impasto.scripts.main, impasto.scripts.train, impasto.scripts.translate",
    ],
)
def test_starts_without_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
