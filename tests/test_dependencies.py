"""What is imported is declared, and what is declared has the version that CI tests with."""

import ast
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SHIPPED = (
    *("cyclegan", "data", "gatys", "impasto", "options", "runs", "scripts", "styles", "survey"),
)
FOLDERS = (*SHIPPED, "benchmarks", "docs", "examples", "tests")
# The program that a benchmark compares with; it says itself how to install it.
PEERS = {"style-transfer-pytorch"}
# Names of packages whose modules are called otherwise; only for those that are not installed.
CALLED = {"style_transfer": "style-transfer-pytorch"}


def requirements(section: str, name: str) -> list[Requirement]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [line.strip() for line in config[section][name].splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def extras() -> dict[str, list[Requirement]]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    section = "options.extras_require"
    return {name: requirements(section, name) for name in config[section]}


def names(some: list[Requirement]) -> set[str]:
    return {canonicalize_name(each.name) for each in some}


ALWAYS = requirements("options", "install_requires")
EVERY = [*ALWAYS, *(each for some in extras().values() for each in some)]


def imported(path: Path, *, at_once: bool = False) -> Iterator[str]:
    """Give the packages of others that a module imports; those that it cannot do without."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [str(node.module)]
        else:
            continue
        for name in (each.partition(".")[0] for each in found):
            if name not in sys.stdlib_module_names and name not in ("impasto", *FOLDERS):
                yield name


DISTRIBUTIONS = packages_distributions()


def distributions(name: str) -> set[str]:
    """Give the packages that a module may be from; several share the folder of some."""
    found = DISTRIBUTIONS.get(name, [CALLED.get(name, name)])
    return {canonicalize_name(each) for each in found}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_imported_is_declared(folder: str) -> None:
    alone = folder in ("benchmarks", "docs")  # scripts, which import what stands beside them
    beside = {path.stem for path in (ROOT / folder).rglob("*.py")} if alone else set()
    known = names(EVERY) | PEERS
    undeclared = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in imported(path)
        if name not in beside and not distributions(name) & known
    }
    assert not undeclared


def test_extras_are_imported_where_they_are_needed_alone() -> None:
    """Modules that import an extra at once are those that a command imports when it needs it."""
    extra = {
        (path.relative_to(ROOT).as_posix(), name)
        for folder in SHIPPED
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in imported(path, at_once=True)
        if not distributions(name) & names(ALWAYS)
    }
    assert {path.rpartition("/")[0] for path, _ in extra} <= {"survey/serve", "runs/displays"}


def test_what_is_declared_is_pinned_within_its_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {canonicalize_name(pin.name): pin.specifier for pin in pins}
    assert len(versions) == len(pins)
    assert all(re.fullmatch(r"==[\w.]+", str(specifier)) for specifier in versions.values())
    for requirement in EVERY:
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name} is not in constraints.txt"
        version = Version(str(versions[name]).removeprefix("=="))
        assert version in requirement.specifier, requirement


def test_what_has_broken_before_is_bounded() -> None:
    bounds = {each.name: each.specifier for each in ALWAYS}
    for name, broken in (("jsonargparse", "5.0"), ("torch", "3.0")):
        assert Version(broken) not in SpecifierSet(str(bounds[name]))


def test_every_environment_of_the_chores_has_those_versions() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [
        line for line in text.splitlines() if "pip install" in line and "--editable" in line
    ]
    assert len(installs) == 4
    free = [line for line in installs if "--constraint $(CONSTRAINTS)" not in line]
    assert len(free) == 1
    assert ".venv-newest/" in free[0]
    for run in ("run", "run-newest"):
        assert "make " in (ROOT / ".ci" / run).read_text(encoding="utf-8")
