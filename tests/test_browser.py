"""No browser outlives the process that runs the tests."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HELPERS = Path(__file__).with_name("browser.py")
OPENS_A_BROWSER = """
import sys, time
from pathlib import Path
from runpy import run_path
with run_path(sys.argv[1])["open_chromium"](Path(sys.argv[2])):
    print("open", flush=True)
    time.sleep(120)
"""


def processes_with(text: str) -> list[int]:
    """Give the identifiers of the running processes whose command line contains the text."""
    running = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                running.append(int(folder.name))
        except OSError:  # it has just ended
            continue
    return running


@pytest.mark.usefixtures("browser")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_browser_ends_with_the_process_that_opened_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    command = [sys.executable, "-c", OPENS_A_BROWSER, str(HELPERS), str(profile)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as opener:
        assert opener.stdout is not None
        assert opener.stdout.readline() == b"open\n"
        started = processes_with(f"--user-data-dir={profile}")
        opener.send_signal(number)
        assert opener.wait(timeout=60) != 0
    assert started
    end = time.monotonic() + 120
    while (left := processes_with(f"--user-data-dir={profile}")) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left
