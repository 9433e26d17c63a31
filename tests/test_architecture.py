"""The rules of the tree: imports point down, rooms stay small, everything is shipped."""

import ast
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "options": set(),
    "data": {"options"},
    "runs": {"options", "data"},
    "cyclegan": {"options", "data", "runs", "gatys.features"},
    "gatys": {"options", "data", "runs"},
    "survey": {"options", "data", "runs"},
    "styles": {"options", "data", "runs", "cyclegan", "gatys"},
    "scripts": {"options", "data", "runs", "cyclegan", "gatys", "styles", "survey", "impasto"},
    "impasto": {"options", "data", "runs", "cyclegan", "gatys", "styles", "survey", "scripts"},
}
MOST_LINES = 700
MOST_MODULES = 15
# Jobs turn options into files, and build.py turns them into objects; beside them, these take apart
# what a user named: rows of an evaluation, axes of a sweep, pictures of a stylization or a study.
SEE_OPTIONS = {
    "cyclegan.evaluation.candidates",
    "cyclegan.evaluation.page",
    "gatys.classifier.train",
    "gatys.inputs",
    "gatys.sweep.cells",
    "gatys.sweep.plan",
    "survey.export.select",
}


# What participants of a study are sent, and all that makes it.
PARTICIPANTS = (
    *("survey.protocols", "survey.screens", "survey.study", "survey.texts"),
    *("survey.export.platforms", "survey.export.site"),
    *("survey.serve.app", "survey.serve.database", "survey.serve.pages"),
    *("survey.serve.requests", "survey.serve.sessions"),
)


def name_of(path: Path) -> str:
    """Give the dotted name of a module under its folder, such as ``data.decode``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name_of(path): path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))
}


def names_imported(path: Path) -> Iterator[str]:
    """Give what of ours a module imports, with the imported name: ``data.decode.Picture``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        ours = (name.removeprefix("impasto.") for name in names if name.startswith("impasto."))
        yield from (
            name if name.split(".")[0] in MAY_IMPORT else f"impasto.{name}" for name in ours
        )


def module_of(name: str) -> str:
    """Give the module that holds an imported name."""
    parent = name
    while parent not in MODULES:
        parent = parent.rpartition(".")[0]
        assert parent, f"no module of ours holds {name}"
    return parent


IMPORTS = {
    module: {module_of(name) for name in names_imported(path)} for module, path in MODULES.items()
}


def reached(*modules: str) -> set[str]:
    """Give all modules of ours that are imported, at once or later, when these are."""
    seen, left = set[str](), list(modules)
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left += IMPORTS[module]
    return seen


def lies_in(name: str, *folders: str) -> bool:
    return any(f"{name}.".startswith(f"{folder}.") for folder in folders)


def test_imports_point_down() -> None:
    upward = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        if not lies_in(name, *MAY_IMPORT[module.split(".")[0]], module.split(".")[0])
    ]
    assert not upward


def test_loading_a_model_never_imports_the_trainer() -> None:
    loading = reached("cyclegan.models", "cyclegan.inference.translator", "cyclegan.jobs.translate")
    training = {"cyclegan.trainer", "cyclegan.terms", "cyclegan.build", "runs.loop"}
    assert not loading & training
    assert training <= reached("cyclegan.jobs.train")  # the names are right


def test_no_module_imports_itself_in_the_end() -> None:
    assert not [module for module, names in IMPORTS.items() if module in reached(*names)]


def test_modules_stay_small() -> None:
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_folders_are_read_at_a_glance() -> None:
    shelves = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert not {folder: count for folder, count in shelves.items() if count > MOST_MODULES}
    assert shelves.total() < 250


def test_few_modules_are_imported_by_one_other_alone() -> None:
    # A module that only one other needs is a part of it, or a concept of its own; few are that.
    tree = runpy.run_path(str(ROOT / "benchmarks" / "tree.py"))
    known, single = tree["modules"](), tree["imported_once"]()
    assert len(known) > 100
    assert single
    assert len(single) < 0.1 * len(known)


def test_only_builders_and_jobs_see_option_classes() -> None:
    seeing = {
        module
        for module, path in MODULES.items()
        if module.split(".")[0] in {"cyclegan", "data", "gatys", "styles", "survey"}
        and module.split(".")[-1] not in {"build", "job"}
        and ".jobs." not in module
        for name in names_imported(path)
        if name.startswith("options.") and name.endswith("Options")
    }
    assert seeing == SEE_OPTIONS


def test_what_participants_see_never_meets_the_answer_key() -> None:
    assert not [module for module in PARTICIPANTS if "survey.key" in reached(module)]
    # The package's own names are imported lazily, which hides from this walk where they are.
    assert not [module for module in PARTICIPANTS if "survey" in reached(module)]


def test_the_survey_server_analyses_nothing() -> None:
    served = reached(*(module for module in MODULES if module.startswith("survey.serve.")))
    assert "survey.key" in served  # the owner's side has it, so the walk does walk
    assert not [name for name in served if name.startswith(("survey.analysis", "survey.report"))]


def test_packages_equal_what_is_on_disk() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    on_disk = [
        f"impasto.{name}".replace("impasto.impasto", "impasto")
        for name, path in MODULES.items()
        if path.name == "__init__.py"
    ]
    assert sorted(listed) == sorted(on_disk)
    lines = config["options"]["package_dir"].strip().split("\n")
    folders = dict(line.split(" = ") for line in lines)
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


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("scripts.main", "impasto.options.train jsonargparse yaml numpy"),
        ("scripts.translate", "impasto.options.stylize numpy"),
        ("cyclegan.jobs.translate", "accelerate scipy torchvision"),
        ("cyclegan.jobs.evaluate", "accelerate torchvision"),
        ("cyclegan.jobs.train", "scipy torchvision"),
        ("gatys.jobs.stylize", "accelerate scipy torchvision"),
        ("gatys.classifier.train", "torchvision"),
    ],
)
def test_commands_start_without_what_only_others_need(module: str, spared: str) -> None:
    # Each takes as long as NumPy, and torchvision as long as torch.
    code = f"import sys, impasto.{module}; print(*sorted(set({spared.split()}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_what_windows_lacks_is_imported_late() -> None:
    absent = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}
    early = []
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            early += [f"{name}: {found}" for found in absent.intersection(names)]
    assert early == []


def test_feature_networks_are_a_floor_of_their_own() -> None:
    above = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        if module.startswith("gatys.features")
        and name.startswith("gatys.")
        and not name.startswith("gatys.features")
    ]
    assert not above
