"""Each test lies where the module that it tests does, so that one is found by the other's name."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
# Tests of a whole that no single module is.
WHOLES = {
    "cyclegan/test_extensions.py",  # what others add from outside: losses, generators
    "gatys/losses/test_own_loss.py",  # a loss that is not ours
    "scripts/test_help.py",  # the help of all commands
    "survey/analysis/test_statistics.py",  # intervals and tests, against each other and by hand
    "survey/export/test_real_pictures.py",  # from a training to the report on its pictures
    "survey/test_safeguards.py",  # what keeps a running study whole
}
MOST_LINES = 700


def is_mirrored(test: Path) -> bool:
    """Whether a test is called after a module or folder, alone or with an aspect of it.

    ``cyclegan/jobs/test_train_page.py`` tests the page of ``cyclegan/jobs/train.py``.
    """
    folder = ROOT / test.relative_to(TESTS).parent
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    return any(
        path.exists()
        for name in names
        for path in (folder / f"{name}.py", folder / f"{name}_.py", folder / name)
    )


def test_tests_are_called_after_what_they_test() -> None:
    tests = [path for folder in TESTS.iterdir() for path in folder.rglob("test_*.py")]
    assert tests
    astray = {path.relative_to(TESTS).as_posix() for path in tests if not is_mirrored(path)}
    assert astray == WHOLES


def test_tests_stay_small() -> None:
    lines = {
        path.relative_to(TESTS).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in TESTS.rglob("*.py")
    }
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_only_known_folders_hold_tests() -> None:
    folders = {path.parent for path in TESTS.rglob("test_*.py")} - {TESTS}
    assert not [folder for folder in folders if not (ROOT / folder.relative_to(TESTS)).is_dir()]
