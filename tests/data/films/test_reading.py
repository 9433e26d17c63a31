"""Reading films: times, rotation, colors and what is damaged."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.data.films.reading import FilmReader, is_film, read_comment
from impasto.options.errors import PictureError
from tests.films import Rgb, need_av, pan, write_film


def read(path: Path) -> list[Rgb]:
    with FilmReader(path) as film:
        return [frame.rgb for frame in film.frames()]


def test_frames_come_with_the_times_of_the_file(tmp_path: Path) -> None:
    times = [0, 512, 1536, 1600, 4096]
    path = write_film(tmp_path / "a.mp4", pan(5), times=times)
    with FilmReader(path) as film:
        frames = list(film.frames())
        facts = film.facts
    assert [frame.time * facts.time_base for frame in frames] == [
        Fraction(time, 12800) for time in times
    ]
    assert (facts.height, facts.width, facts.frames, facts.sound) == (64, 96, 5, ("aac",))
    for frame, before in zip(frames, pan(5), strict=True):
        assert np.abs(frame.rgb.astype(int) - before).mean() < 4


def test_frames_are_turned_as_players_turn_them(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", pan(2), sound=False)
    upright = read(path)
    content = path.read_bytes()
    # The matrix of the track's header, version 0 (ISO 14496-12, 8.3.2).
    at = content.index(b"tkhd") + 44
    assert struct.unpack(">9i", content[at : at + 36])[0] == 65536
    clockwise = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content[:at] + clockwise + content[at + 36 :])
    with FilmReader(turned) as film:
        assert (film.facts.height, film.facts.width) == (96, 64)
        np.testing.assert_array_equal(next(film.frames()).rgb, np.rot90(upright[0], -1))


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 1, 1, 2), (6, 6, 6, 1), (6, 6, 6, 2)])
def test_matrix_and_range_of_the_file_are_followed(
    tmp_path: Path, tags: tuple[int, int, int, int]
) -> None:
    plain = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    path = write_film(tmp_path / "a.mp4", [plain] * 2, tags=tags, sound=False)
    with FilmReader(path) as film:
        assert film.facts.colors.tags == tags
        frame = next(film.frames()).rgb
    assert np.abs(frame.astype(int) - plain).max() <= 3


def test_ten_bits_become_eight_and_that_is_said(tmp_path: Path) -> None:
    frames = pan(2)
    path = write_film(tmp_path / "a.mp4", frames, pixels="yuv420p10le", sound=False)
    with FilmReader(path) as film:
        assert any("10 bits" in words for words in film.facts.notes)
        first = next(film.frames()).rgb
    assert np.abs(first.astype(int) - frames[0]).mean() < 4


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng", ".webp"])
def test_animations_are_films_and_pictures_are_not(tmp_path: Path, suffix: str) -> None:
    images = [Image.fromarray(rgb) for rgb in pan(3)]
    moving, still = tmp_path / f"moving{suffix}", tmp_path / f"still{suffix}"
    kind = {".apng": "PNG"}.get(suffix)
    options = {"lossless": True} if suffix == ".webp" else {}
    images[0].save(
        moving, kind, save_all=True, append_images=images[1:], duration=[40, 80, 120], **options
    )
    images[0].save(still, kind)
    assert is_film(moving)
    assert not is_film(still)
    with FilmReader(moving) as film:
        frames = list(film.frames())
    assert [(frame.time, frame.duration) for frame in frames] == [(0, 40), (40, 80), (120, 120)]
    if suffix != ".gif":
        np.testing.assert_array_equal([frame.rgb for frame in frames], pan(3))


def test_names_and_content_tell_films(tmp_path: Path) -> None:
    for name, content in (("a.gif", b""), ("b.png", b"\x89PNG\r\n\x1a\n"), ("c.gif", b"GIF89a")):
        (tmp_path / name).write_bytes(content)
        assert not is_film(tmp_path / name)
    assert is_film(tmp_path / "a.MOV")
    assert not is_film(tmp_path / "a.jpg")
    assert not is_film(tmp_path / "missing.gif")


def test_damaged_films_are_refused_in_a_sentence(tmp_path: Path) -> None:
    need_av()
    path = tmp_path / "film.mp4"
    for content in (b"", b"nothing at all" * 100):
        path.write_bytes(content)
        with pytest.raises(PictureError, match="is damaged or cut short, or no film"):
            FilmReader(path)
    with pytest.raises(PictureError, match="no such file"):
        FilmReader(tmp_path / "missing.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(PictureError, match="no regular file"):
        FilmReader(tmp_path / "folder.mp4")
    assert read_comment(path) == ""


def test_a_film_that_is_cut_short_is_no_whole_one(tmp_path: Path) -> None:
    av = need_av()
    whole = write_film(tmp_path / "a.mp4", pan(30), sound=False)
    # With the index in front, as for the web, so that the rest can be missing.
    with (
        av.open(str(whole)) as read_,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(read_.streams.video[0])
        for packet in read_.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    content = (tmp_path / "front.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 2 // 3])
    with FilmReader(cut) as film, pytest.raises(PictureError, match=r"cut short|damaged after"):
        list(film.frames())


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    av = need_av()
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        tone = out.add_stream("aac", rate=44100)
        samples = av.AudioFrame.from_ndarray(
            np.zeros((1, 4410), np.int16), format="s16", layout="mono"
        )
        samples.sample_rate = 44100
        out.mux(tone.encode(samples))
        out.mux(tone.encode())
    with pytest.raises(PictureError, match="holds no moving picture"):
        FilmReader(tmp_path / "a.mp4")


def test_playlists_open_no_other_files(tmp_path: Path) -> None:
    need_av()
    write_film(tmp_path / "a.mp4", pan(2), sound=False)
    (tmp_path / "list.mkv").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path / 'a.mp4'}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(PictureError, match=r"no film|cannot be read"):
        FilmReader(tmp_path / "list.mkv")


def test_animations_are_read_by_their_content(tmp_path: Path) -> None:
    images = [Image.fromarray(rgb) for rgb in pan(3)]
    for kind, name in (("GIF", "a.png"), ("WEBP", "b.gif"), ("PNG", "c.webp")):
        path = tmp_path / name
        images[0].save(path, kind, save_all=True, append_images=images[1:], duration=40)
        assert is_film(path)
        assert len(read(path)) == 3


def test_the_picture_for_viewers_without_animations_is_no_frame(tmp_path: Path) -> None:
    images, still = [Image.fromarray(rgb) for rgb in pan(3)], Image.new("RGB", (96, 64), "red")
    path = tmp_path / "a.png"
    still.save(path, save_all=True, append_images=images, default_image=True, duration=70, loop=2)
    with FilmReader(path) as film:
        frames = list(film.frames())
        facts = film.facts
    assert (facts.frames, facts.rate, facts.loops) == (3, Fraction(1000, 70), 2)
    np.testing.assert_array_equal([frame.rgb for frame in frames], pan(3))
    assert [(frame.time, frame.duration) for frame in frames] == [(0, 70), (70, 70), (140, 70)]


def test_transparency_of_a_video_is_not_kept_and_that_is_said(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", pan(2), pixels="yuva420p", codec="ffv1", sound=False)
    with FilmReader(path) as film:
        assert film.facts.notes == ("it has transparent parts, which become opaque",)


def test_a_comment_is_read_of_all_kinds_and_of_no_other_file(tmp_path: Path) -> None:
    for name in ("missing.mp4", "missing.gif"):
        assert read_comment(tmp_path / name) == ""
    image = Image.fromarray(pan(1)[0])
    image.save(tmp_path / "a.gif", comment=b"a word")
    assert read_comment(tmp_path / "a.gif") == "a word"
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    assert read_comment(tmp_path / "b.gif") == ""


def test_an_animation_that_says_it_is_huge_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    moving = chunk(b"acTL", struct.pack(">II", 2, 0))
    path = tmp_path / "huge.png"
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + moving + pixels + chunk(b"IEND", b""))
    assert is_film(path)
    with pytest.raises(PictureError, match=r"has 60000 x 60000 = .* more than the limit"):
        FilmReader(path)
