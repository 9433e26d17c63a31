"""A built wheel holds everything that the packages need."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["cyclegan", "data", "gatys", "impasto", "options", "runs", "scripts", "survey"]
FILES = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]


@pytest.mark.slow
def test_wheel_is_complete(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for file in FILES:
        shutil.copy(ROOT / file, source / file)
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, *command, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("impasto-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"impasto/{path.relative_to(source).as_posix().removeprefix('impasto/')}"
        for folder in FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    assert expected <= packed
    assert {name.split("/")[0] for name in packed} == {
        "impasto",
        next(name.split("/")[0] for name in packed if ".dist-info/" in name),
    }
