"""What signals do, sent to programs of their own, as they would end these tests."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from impasto.runs import signals
from impasto.runs.signals import Interrupts, Stopped, end_on_signals, stopping_signals

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# Waits for a wish, then for a second one, as a loop does that is saving.
Process = subprocess.Popen[str]
LOOP = """
import sys, time
from impasto.runs.signals import Interrupts, Stopped
try:
    with Interrupts() as interrupts:
        print("ready", flush=True)
        while interrupts.received is None:
            time.sleep(0.01)
        print(interrupts.received.name, flush=True)
        while sys.argv[1:]:
            time.sleep(0.01)
except Stopped as stopped:
    raise SystemExit(128 + stopped.number)
print("saved", flush=True)
"""


@pytest.fixture
def start(start_process: Callable[..., Process]) -> Callable[..., Process]:
    """A function that starts a program, which is to say "ready"."""

    def start(code: str, *words: str, ignored: signal.Signals | None = None) -> Process:
        def ignore() -> None:
            if ignored is not None:
                signal.signal(ignored, signal.SIG_IGN)

        process = start_process(
            [sys.executable, "-c", code, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=ignore,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return start


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_is_a_wish(number: signal.Signals, start: Callable[..., Process]) -> None:
    process = start(LOOP)
    process.send_signal(number)
    printed, said = process.communicate(timeout=120)
    assert (printed, process.returncode) == (f"{number.name}\nsaved\n", 0)
    assert f"{number.name}: saving; once more stops at once" in said


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("first", NUMBERS)
def test_the_second_acts_at_once_and_decides_the_status(
    first: signal.Signals, second: signal.Signals, start: Callable[..., Process]
) -> None:
    process = start(LOOP, "for ever")
    assert process.stdout is not None
    process.send_signal(first)
    assert process.stdout.readline() == f"{first.name}\n"
    if first == signal.SIGHUP:
        time.sleep(signals._TOGETHER_SECONDS)  # or more
    process.send_signal(second)
    printed, _ = process.communicate(timeout=120)
    assert (printed, process.returncode) == ("", 128 + second)


@pytest.mark.parametrize("first", NUMBERS)
def test_a_hangup_is_no_second_wish(first: signal.Signals) -> None:
    # A terminal is closed: bash hangs up its jobs and ends, and then the kernel hangs up.
    with Interrupts(announce=False) as interrupts:
        for number in (first, signal.SIGHUP, signal.SIGHUP):
            signal.raise_signal(number)
            time.sleep(0.002)
        assert interrupts.received == first
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)


def test_hangup_and_sigterm_at_once_are_one_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    # So ends a session with systemd, which sends SIGTERM first.
    monkeypatch.setattr(signals, "_TOGETHER_SECONDS", 600.0)
    both = {signal.SIGTERM, signal.SIGHUP}
    with Interrupts(announce=False) as interrupts:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        assert interrupts.received in both


def test_nohup_is_obeyed(start: Callable[..., Process]) -> None:
    process = start(LOOP, ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert printed == "SIGTERM\nsaved\n"


def test_after_a_closed_terminal_the_loop_still_saves(
    tmp_path: os.PathLike[str], start_process: Callable[..., Process]
) -> None:
    # A terminal is closed: its programs get SIGHUP, and all that they print fails.
    code = LOOP.replace('print("saved"', 'open(sys.argv[2], "w").write("saved"); print("saved"')
    code = code.replace("while sys.argv[1:]", "while False")
    saved = os.path.join(tmp_path, "saved")  # noqa: PTH118
    owner, terminal = pty.openpty()
    process = start_process(
        [sys.executable, "-c", code, "x", saved],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    said = b""
    while not said.endswith(b"\n"):  # the line's end may come later
        said += os.read(owner, 100)
    os.close(owner)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0
    with open(saved, encoding="utf-8") as file:  # noqa: PTH123
        assert file.read() == "saved"


def test_who_reads_the_announcement_may_be_gone(start: Callable[..., Process]) -> None:
    # `impasto train 2>&1 | tee log`, and Ctrl-C, which ends tee, too.
    process = start(LOOP)
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert (printed, process.returncode) == ("SIGINT\nsaved\n", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_elsewhere_they_end_what_runs_as_ctrl_c_does(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def run() -> None:
        with end_on_signals():
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(Stopped) as stopped:
        run()
    assert stopped.value.number == number
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGHUP,) * 3, (signal.SIGTERM, signal.SIGHUP), (signal.SIGHUP, signal.SIGTERM)],
)
def test_what_a_closed_terminal_sends_besides_does_not_disturb_the_end(
    numbers: tuple[signal.Signals, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_TOGETHER_SECONDS", 600.0)
    removed = False

    def run() -> None:
        nonlocal removed
        with end_on_signals():
            try:
                signal.raise_signal(numbers[0])
            finally:
                for number in numbers[1:]:
                    signal.raise_signal(number)
                removed = True

    with pytest.raises(Stopped) as stopped:
        run()
    assert (stopped.value.number, removed) == (numbers[0], True)


def in_a_thread(call: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    assert not failed


def test_in_a_thread_nothing_is_noted() -> None:
    def use() -> None:
        with end_on_signals(), Interrupts() as interrupts:
            assert interrupts.received is None

    in_a_thread(use)


def test_which_ask_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopping_signals() == [signal.SIGTERM, signal.SIGHUP]
    monkeypatch.setattr(signal, "getsignal", lambda _number: signal.SIG_IGN)
    assert stopping_signals() == [signal.SIGTERM]
