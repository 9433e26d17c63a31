import platform
import subprocess
import sys

import pytest

# Takes and frees 64 MB ten times, and prints how often the system had to hand out pages.
LOOP = """
import resource, sys
import numpy as np
from impasto.runs.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(word: str) -> int:
    command = [sys.executable, "-c", LOOP, word]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library")
def test_freed_memory_is_used_again() -> None:
    assert page_faults("keep") < page_faults("plain") / 10
