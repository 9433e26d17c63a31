"""A command shows that it is alive: a bar in a terminal, lines now and then elsewhere."""

import io
import os
import select
import sys
import threading

import pytest

from impasto.runs.displays.bar import ProgressBar


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_has_a_line_now_and_then_with_what_is_left() -> None:
    clock, out = Clock(), io.StringIO()
    bar = ProgressBar(stream=out, clock=clock, quiet_seconds=30)
    bar.start(70)
    for second in range(1, 62):
        clock.seconds = second
        bar.move()
    assert out.getvalue().splitlines() == [
        "to do: 70 pictures",
        "30 of 70 pictures, 30 s, about 40 s left",
        "60 of 70 pictures, 60 s, about 10 s left",
    ]
    # Nothing is done for a while, as with one large picture: the lines go on.
    clock.seconds = 122
    bar.tick()
    assert out.getvalue().splitlines()[3] == "61 of 70 pictures, 122 s, about 18 s left"


def test_no_time_is_told_where_the_next_ones_take_longer() -> None:
    clock, out = Clock(), io.StringIO()
    bar = ProgressBar(stream=out, clock=clock, noun="evaluations", steady=False)
    bar.start(460)
    clock.seconds = 30
    bar.move(400, doing="128 x 85 pixels")
    lines = "to do: 460 evaluations\n400 of 460 evaluations, 128 x 85 pixels, 30 s\n"
    assert out.getvalue() == lines


def test_what_takes_long_before_the_first_is_done_is_seen_too() -> None:
    clock, out = Clock(), io.StringIO()
    bar = ProgressBar(stream=out, clock=clock, quiet_seconds=30)
    clock.seconds = 31
    bar.tick()
    bar.start(1)
    clock.seconds = 62
    bar.tick()
    assert out.getvalue() == "preparing, 31 s\nto do: 1 pictures\n0 of 1 pictures, 31 s\n"


def test_it_moves_by_itself() -> None:
    moved, clock = threading.Event(), Clock()

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            moved.set()
            return super().write(text)

    with ProgressBar(stream=Pipe(), clock=clock, quiet_seconds=1) as bar:
        bar.start(1)
        clock.seconds = 5
        assert moved.wait(120)


def test_short_commands_say_what_is_to_do_and_no_more_into_a_pipe() -> None:
    out = io.StringIO()
    with ProgressBar(stream=out, clock=Clock()) as bar:
        bar.start(2)
        bar.move()
        bar.move(2, doing="the last one")
    assert out.getvalue() == "to do: 2 pictures\n"


def test_in_a_terminal_lines_stand_alone_and_the_last_one_is_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As on a screen: \r goes back to the beginning of the line, and what is written covers it.
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    with ProgressBar("it", stream=screen) as bar:
        bar.say("preset builtin")
        bar.start(20)
        bar.move(20, doing="48 x 25 pixels")
        bar.say("note: it is enlarged")
        bar.close()
        print("wrote night.png", file=screen)
    lines = []
    for line in screen.getvalue().split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    assert lines == ["preset builtin", "note: it is enlarged", "wrote night.png", ""]
    assert "20/20" in screen.getvalue()


def test_a_terminal_without_a_size_shows_the_bar_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # `script` makes one of 0 columns where it is itself in none.
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)  # where tqdm asks for the size
        with ProgressBar() as bar:
            bar.start(7)
            seen = ""
            while "0/7" not in seen and select.select([ours], [], [], 30)[0]:
                seen += os.read(ours, 4096).decode()
            assert "0/7" in seen
    os.close(ours)


def test_stopping_says_how_far_it_came() -> None:
    out = io.StringIO()

    def work() -> None:
        with ProgressBar(stream=out, noun="cells") as bar:
            bar.start(9)
            bar.move()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert out.getvalue() == "to do: 9 cells\nstopped after 1 of 9 cells\n"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_what_was_done_before_says_nothing_of_the_time_that_is_left(
    stream: type[io.StringIO],
) -> None:
    clock = Clock()
    bar = ProgressBar("cell", noun="cells", stream=stream(), clock=clock)
    bar.start(10)
    for _ in range(6):
        bar.skip()
    assert bar.left == "4 of 10 cells left"
    clock.seconds = 50
    bar.move()
    assert bar.seconds == 50
    assert bar.seconds_left == 150
    assert bar.left == "3 of 10 cells left, about 2 min"
    for _ in range(3):
        bar.move()
    assert bar.left == ""
    assert str(bar) == "10 of 10 cells"
    bar.close()
