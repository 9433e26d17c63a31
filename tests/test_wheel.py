"""A built wheel holds everything that the packages need."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["cyclegan", "data", "gatys", "impasto", "options", "runs", "scripts"]
FOLDERS += ["styles", "survey"]
FILES = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
# What is no Python, one of each kind: were it moved, the comparison of folders would not see it.
NEEDED = {
    "impasto/cyclegan/pretrained/monet.safetensors",
    "impasto/cyclegan/pretrained/monet_cycle.safetensors",
    "impasto/data/__init__.pyi",
    "impasto/data/fetch/catalog.yaml",
    "impasto/options/presets/backbones/small.yaml",
    "impasto/options/presets/sweeps/seconds.yaml",
    "impasto/options/presets/tiny.yaml",
    "impasto/py.typed",
    "impasto/runs/pages/page.css",
    "impasto/runs/pages/page.js",
    "impasto/survey/page/mturk.html",
    "impasto/survey/page/survey.js",
    "impasto/survey/page/texts_en.yaml",
}


def copy_source(folder: Path) -> Path:
    """Copy what a wheel is built from, without what building it leaves behind."""
    for name in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def files_in_wheel(source: Path, folder: Path) -> set[str]:
    """Build a wheel without a network, and give the names of the files in it."""
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, *command, "--wheel-dir", str(folder), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("impasto-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def files_on_disk(source: Path) -> set[str]:
    """Give the files of the packages, under the names that they are to have in the wheel."""
    return {
        f"impasto/{path.relative_to(source).as_posix().removeprefix('impasto/')}"
        for folder in FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_wheel_is_complete(tmp_path: Path) -> None:
    source = copy_source(tmp_path / "source")
    expected = files_on_disk(source)
    assert expected >= NEEDED
    packed = files_in_wheel(source, tmp_path)
    assert expected <= packed
    information = {name for name in packed if ".dist-info/" in name}
    assert packed - information == expected
    assert len({name.split("/")[0] for name in information}) == 1


@pytest.mark.slow
def test_a_package_and_a_kind_of_file_that_are_not_listed_are_missed(tmp_path: Path) -> None:
    source = copy_source(tmp_path / "source")
    expected = files_on_disk(source)
    config = (source / "setup.cfg").read_text(encoding="utf-8")
    for line in (r"    impasto\.data\.metrics\n", r"impasto\.runs\.pages = .*\n"):
        config, count = re.subn(line, "", config)
        assert count == 1
    (source / "setup.cfg").write_text(config, encoding="utf-8")
    missed = expected - files_in_wheel(source, tmp_path)
    folders = ("impasto/data/metrics/", "impasto/runs/pages/")
    assert missed == {
        name
        for name in expected
        if name.startswith(folders[0]) or (name.startswith(folders[1]) and name.endswith("s"))
    }
    assert all(any(name.startswith(folder) for name in missed) for folder in folders)
