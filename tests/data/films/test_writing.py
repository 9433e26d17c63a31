"""Writing films: sound and times as they were, one file of segments, whatever is missing."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from impasto.data.films import writing
from impasto.data.films.reading import FilmColors, FilmFacts, FilmReader, read_comment
from impasto.data.films.writing import FilmCodec, FilmSegments, film_format, film_suffix
from impasto.options.errors import OptionError, PictureError
from tests.films import need_av, packets, pan, write_film


def copy(
    source: Path, target: Path, *, segment: int = 4, codec: FilmCodec = "auto", crf: int = 10
) -> Path:
    """Write a film anew, in segments."""
    folder = target.with_suffix(".parts")
    folder.mkdir()
    with FilmReader(source) as film:
        how = film_format(target, film.facts, codec=codec, crf=crf)
        segments = FilmSegments(folder, how)
        segments.check_sound(source)
        frames = film.frames()
        while part := list(islice(frames, segment)):
            segments.write(part)
        segments.join(target, source, "a word")
    return target


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_sound_is_copied_packet_by_packet(tmp_path: Path, name: str) -> None:
    source = write_film(tmp_path / "a.mp4", pan(10))
    made = copy(source, tmp_path / name)
    before, after = packets(source, "audio"), packets(made, "audio")
    assert [content for content, _ in after] == [content for content, _ in before]
    apart = [abs(one - other) for (_, one), (_, other) in zip(before, after, strict=True)]
    assert max(apart) <= Fraction(1, 1000)  # Matroska counts in milliseconds
    assert read_comment(made) == "a word"


def test_times_are_those_of_the_source(tmp_path: Path) -> None:
    times = [0, 512, 1536, 1600, 4096, 4100, 4800, 9000, 9001]
    source = write_film(tmp_path / "a.mp4", pan(9), times=times)
    made = copy(source, tmp_path / "out.mp4")
    assert [time for _, time in packets(made, "video")] == [Fraction(t, 12800) for t in times]
    with FilmReader(made) as film:
        assert np.abs(next(film.frames()).rgb.astype(int) - pan(1)[0]).mean() < 5


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 6, 6, 2)])
def test_colors_and_their_tags_stay(
    tmp_path: Path, codec: FilmCodec, tags: tuple[int, int, int, int]
) -> None:
    plain = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    source = write_film(tmp_path / "a.mp4", [plain] * 2, tags=tags, sound=False)
    made = copy(source, tmp_path / "out.mp4", codec=codec)
    with FilmReader(made) as film:
        assert film.facts.colors.tags == tags
        assert np.abs(next(film.frames()).rgb.astype(int) - plain).max() <= 5


def test_odd_sides_are_made_even_and_that_is_said(tmp_path: Path) -> None:
    images = [Image.fromarray(rgb[:33, :47]) for rgb in pan(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=40)
    made = copy(tmp_path / "a.gif", tmp_path / "out.mp4")
    with FilmReader(made) as film:
        assert (film.facts.height, film.facts.width) == (34, 48)
        assert len(list(film.frames())) == 3
    with FilmReader(tmp_path / "a.gif") as film:
        notes = film_format(tmp_path / "out.mp4", film.facts).notes
    assert any("even sides" in words for words in notes)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_animations_keep_their_durations(tmp_path: Path, suffix: str) -> None:
    images = [Image.fromarray(rgb) for rgb in pan(5)]
    durations = [40, 80, 120, 20, 60]
    source = tmp_path / f"a{suffix}"
    images[0].save(source, save_all=True, append_images=images[1:], duration=durations, loop=3)
    made = copy(source, tmp_path / f"out{suffix}", segment=2)
    with FilmReader(made) as film:
        frames = list(film.frames())
        assert film.facts.loops == 3
    assert [frame.duration for frame in frames] == durations
    if suffix == ".png":
        np.testing.assert_array_equal([frame.rgb for frame in frames], pan(5))


def test_a_gif_of_a_film_does_not_drift(tmp_path: Path) -> None:
    source = write_film(
        tmp_path / "a.mp4", pan(12), times=[1001 * i for i in range(12)], unit=Fraction(1, 30000)
    )
    made = copy(source, tmp_path / "out.gif")
    with FilmReader(made) as film:
        *_, last = film.frames()
    assert abs(last.time - 11 * 1001 / 30) <= 5  # milliseconds


def test_segments_that_are_there_are_found(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", pan(8), sound=False)
    whole = copy(source, tmp_path / "whole.mp4")
    folder = tmp_path / "parts"
    folder.mkdir()
    with FilmReader(source) as film:
        how = film_format(tmp_path / "out.mp4", film.facts, crf=10)
        FilmSegments(folder, how).write(islice(film.frames(), 4))
    with FilmReader(source) as film:
        segments = FilmSegments(folder, how)
        assert (len(segments), segments.frames) == (1, 4)
        segments.write(islice(film.frames(), 4, 8))
        segments.join(tmp_path / "out.mp4", source, "a word")
    assert (tmp_path / "out.mp4").read_bytes() == whole.read_bytes()


def test_sound_that_does_not_fit_is_refused_before_the_work(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", pan(3))
    with pytest.raises(PictureError, match=r"cannot hold audio in aac.*\.mkv"):
        copy(source, tmp_path / "out.webm")


def test_what_holds_all_sound_and_subtitles_is_named(tmp_path: Path) -> None:
    av = need_av()
    source = write_film(tmp_path / "a.mp4", pan(3))
    with av.open(str(source)) as film, av.open(str(tmp_path / "b.mp4"), "w") as out:
        to = {stream.index: out.add_stream_from_template(stream) for stream in film.streams}
        texts = out.add_stream("mov_text")
        texts.codec_context.subtitle_header = ASS
        for packet in film.demux():
            if packet.dts is not None:
                packet.stream = to[packet.stream.index]
                out.mux(packet)
        packet = av.Packet(b"\0\5hello")  # its length, and the text
        packet.pts, packet.dts, packet.duration = 0, 0, 40
        packet.time_base, packet.stream = Fraction(1, 1000), texts
        out.mux(packet)
    with pytest.raises(
        PictureError, match=r"subtitle in mov_text.*ends in one of \.mp4, \.m4v, \.mo"
    ):
        copy(tmp_path / "b.mp4", tmp_path / "out.mkv")
    made = copy(tmp_path / "b.mp4", tmp_path / "made.mov")
    assert packets(made, "subtitles")[0] == (b"\0\5hello", Fraction(0))


# What an encoder of subtitles asks for: how they look.
ASS = b"""[Script Info]
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour
Style: Default,Arial,16,&Hffffff
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def test_a_film_that_begins_later_is_written_from_its_beginning(tmp_path: Path) -> None:
    times = [90000 + 3600 * index for index in range(4)]
    source = write_film(
        tmp_path / "a.m2ts", pan(4), times=times, unit=Fraction(1, 90000), sound=False
    )
    with FilmReader(source) as film:
        assert next(film.frames()).time >= 90000
    made = copy(source, tmp_path / "out.mp4")
    assert [time for _, time in packets(made, "video")] == [Fraction(n, 25) for n in range(4)]


def test_a_film_that_becomes_smaller_names_the_matrix_that_was_guessed(tmp_path: Path) -> None:
    need_av()
    large = replace(FACTS, height=720, width=1280)
    facts = replace(large, colors=FilmColors(matrix=1, tags=(2, 2, 2, 0)))
    assert film_format(tmp_path / "a.mp4", facts).facts.colors.tags == (2, 2, 2, 0)
    smaller = replace(facts, height=360, width=640)
    assert film_format(tmp_path / "a.mp4", smaller).facts.colors.tags == (1, 2, 2, 0)
    named = replace(smaller, colors=FilmColors(matrix=5, tags=(6, 6, 6, 1)))
    assert film_format(tmp_path / "a.mp4", named).facts == named


def test_web_films_are_vp9(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", pan(3), sound=False)
    made = copy(source, tmp_path / "out.webm")
    av = need_av()
    with av.open(str(made)) as film:
        assert film.streams.video[0].name == "vp9"
    with FilmReader(made) as film:
        assert len(list(film.frames())) == 3


FACTS = FilmFacts(height=64, width=96, time_base=Fraction(1, 25), rate=Fraction(25))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    need_av()
    with pytest.raises(PictureError, match=r"is no film that is written; expected one of \.mp4"):
        film_format(tmp_path / "a.avi", FACTS)
    with pytest.raises(OptionError, match="h264 does not fit into"):
        film_format(tmp_path / "a.webm", FACTS, codec="h264")
    with pytest.raises(OptionError, match="crf: expected 0 to 51 for libx264, got 60"):
        film_format(tmp_path / "a.mp4", FACTS, crf=60)
    names = [film_suffix(Path(name)) for name in ("a.MP4", "a.avi", "a.webp", "a.gif", "a.mov")]
    assert names == [".mp4", ".mkv", ".png", ".gif", ".mov"]


def test_another_encoder_takes_the_place_of_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    av = need_av()
    source = write_film(tmp_path / "a.mp4", pan(6))
    there: Callable[[], SimpleNamespace] = lambda: SimpleNamespace(  # noqa: E731
        codecs_available={"mpeg4"}, **{name: getattr(av, name) for name in NEEDED}
    )
    monkeypatch.setattr(writing, "require_av", there)
    how = film_format(tmp_path / "out.mp4", FACTS)
    assert how.encoder == "mpeg4"
    assert any("MPEG-4 Part 2 takes its place" in words for words in how.notes)
    made = copy(source, tmp_path / "out.mp4")
    with FilmReader(made) as film:
        frames = list(film.frames())
    assert len(frames) == 6
    assert np.abs(frames[3].rgb.astype(int) - pan(6)[3]).mean() < 8
    with pytest.raises(PictureError, match="no encoder for hevc here"):
        film_format(tmp_path / "out.mp4", FACTS, codec="hevc")


NEEDED = ("open", "FFmpegError", "VideoFrame", "library_versions")
