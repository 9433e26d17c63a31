"""One version: that of the distribution, from Python and from both ways to start the command."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import impasto


def test_it_is_the_version_of_what_is_installed() -> None:
    assert impasto.__version__ == version("impasto")


@pytest.mark.parametrize("module", ["impasto", "impasto.scripts.main"])
def test_the_command_says_it(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"impasto {impasto.__version__}\n"
