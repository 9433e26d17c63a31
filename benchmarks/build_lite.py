"""Build `impasto-lite`: a distribution that translates with the shipped models, without torch.

python benchmarks/build_lite.py [--models vangogh ...] [--output build/lite]

The modules that `cyclegan/jobs/lite.py` imports are copied under the name `impasto_lite`, so that
both can be installed beside each other; the models are exported, verified, and put beside them. The
wheel is written to the output folder.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

from impasto.cyclegan.jobs.export import export
from impasto.cyclegan.models import SHIPPED, find_generator
from impasto.options.translate import ExportOptions

__all__ = ["build", "main", "needed_modules"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "impasto_lite"
FIRST = "cyclegan.jobs.lite"
NEEDS = ("numpy", "Pillow", "onnxruntime")
_OURS = re.compile(r"^(\s*(?:from|import) )impasto\.", re.MULTILINE)


def needed_modules(first: str = FIRST) -> dict[str, Path]:
    """Return the modules that one imports, at once or later, by dotted names below `impasto`."""
    found: dict[str, Path] = {}
    left = [first]
    while left:
        name = left.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        left += [name.removeprefix("impasto.") for name in names if name.startswith("impasto.")]
    return found


def requirements() -> list[str]:
    """Return what the distribution needs, in the versions of setup.cfg."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"] + config["options.extras_require"]["onnx"]
    named = [line.strip() for line in lines.splitlines()]
    return [line for line in named if re.split(r"[<>=]", line)[0] in NEEDS]


def write_models(names: list[str], folder: Path) -> None:
    """Export models; of one that knows several styles, each becomes a model of its own."""
    folder.mkdir(parents=True)
    for name in names:
        styles = find_generator(Path(name)).styles
        for style in styles or (None,):
            target = folder / f"{style or name}.onnx"
            made = export(Path(name), ExportOptions(output=target, style=style))
            print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB, {made.levels} of 255")


def build(names: list[str], output: Path) -> Path:
    """Build the wheel, and return its path.

    Args:
        names: names of shipped models.
        output: folder for the wheel.
    """
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        for name, path in needed_modules().items():
            target = source.joinpath(PACKAGE, *name.split(".")).with_suffix(".py")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            target.write_text(_OURS.sub(rf"\1{PACKAGE}.", text), encoding="utf-8")
        for folder in [path for path in source.rglob("*") if path.is_dir()]:
            (folder / "__init__.py").touch()
        write_models(names, source / PACKAGE / "cyclegan" / "jobs" / "models")
        shutil.copy(ROOT / "LICENSE", source / "LICENSE")
        needs = ", ".join(f'"{line}"' for line in requirements())
        (source / "pyproject.toml").write_text(
            f"""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "impasto-lite"
version = "{version("impasto")}"
description = "Photographs into paintings with the models of Impasto, without PyTorch"
requires-python = ">=3.11"
license = "MIT"
license-files = ["LICENSE"]
dependencies = [{needs}]

[project.scripts]
impasto-lite = "{PACKAGE}.{FIRST}:main"

[tool.setuptools.packages.find]
include = ["{PACKAGE}*"]

[tool.setuptools.package-data]
"*" = ["*.onnx"]
""",
            encoding="utf-8",
        )
        command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        built = Path(temporary) / "built"
        subprocess.run(  # noqa: S603 - our own words
            [sys.executable, *command, "--wheel-dir", str(built), str(source)], check=True
        )
        (wheel,) = built.glob(f"{PACKAGE}-*.whl")  # in the output, earlier versions may lie
        output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, output))


def main() -> None:
    """Build it, and say where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(SHIPPED), help="shipped models")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "lite")
    words = parser.parse_args()
    wheel = build(words.models, words.output)
    print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB; pip install {wheel}")


if __name__ == "__main__":
    main()
