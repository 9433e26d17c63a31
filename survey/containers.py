"""What a picture's file says besides its pixels: chunks, tables, lengths; read byte by byte."""

import hashlib
import struct
from dataclasses import dataclass

__all__ = ["Container", "read_container"]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
# Chunks and markers without which there is no picture; the others are metadata.
_PNG_NEEDED = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_JPEG_NEEDED = {0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD}
_JFIF = 0xE0
_STANDALONE = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True, kw_only=True)
class Container:
    """A picture's file.

    Attributes:
        format: ``PNG``, ``JPEG``, or the first bytes of something else.
        width: pixels, or 0 where unknown.
        height: pixels, or 0 where unknown.
        samples: bits, colour type and interlacing of a PNG; bits, channels and coding of a JPEG.
        chunks: names of chunks or markers, in order; repeated ones once.
        lengths: of those chunks together, bytes, in the same order.
        tables: quantisation tables of a JPEG, as a hash, or empty.
        coding: how the samples are compressed: first bytes of the stream of a PNG.
        metadata: what is not needed to show the picture: name and beginning.
    """

    format: str
    width: int = 0
    height: int = 0
    samples: str = ""
    chunks: str = ""
    lengths: str = ""
    tables: str = ""
    coding: str = ""
    metadata: tuple[str, ...] = ()


def read_container(content: bytes) -> Container:
    """Take a file apart; a damaged one as far as it can be understood."""
    if content.startswith(_PNG):
        return _read_png(content)
    if content.startswith(_JPEG):
        return _read_jpeg(content)
    return Container(format=content[:8].hex(" ") or "empty")


def _read_png(content: bytes) -> Container:
    pieces: list[tuple[bytes, bytes]] = []
    place = len(_PNG)
    while place + 12 <= len(content) and (not pieces or pieces[-1][0] != b"IEND"):
        (length,) = struct.unpack_from(">I", content, place)
        pieces.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    header = next((body for name, body in pieces if name == b"IHDR" and len(body) == 13), bytes(13))
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    metadata = [_show(name, body) for name, body in pieces if name not in _PNG_NEEDED]
    if place < len(content):
        metadata.append(_show(b"after the end", content[place:]))
    stream = next((body for name, body in pieces if name == b"IDAT"), b"")
    names, lengths = _sum_up([(name.decode("latin-1"), len(body)) for name, body in pieces])
    return Container(
        format="PNG",
        width=width,
        height=height,
        samples="/".join(map(str, rest)),
        chunks=names,
        lengths=lengths,
        coding=stream[:2].hex(),
        metadata=tuple(metadata),
    )


def _read_jpeg(content: bytes) -> Container:
    pieces: list[tuple[int, bytes]] = []
    place, end = 2, len(content)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker in _STANDALONE or marker == 0xFF:
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        pieces.append((marker, content[place + 4 : place + 2 + length]))
        place += 2 + length
        if marker == 0xDA:  # the samples, up to the next marker that is none of theirs
            place = _after_samples(content, place)
        if content[place : place + 2] == b"\xff\xd9":
            end = place + 2
            break
    frame = next((body for mark, body in pieces if mark in (0xC0, 0xC1, 0xC2)), bytes(6))
    bits, height, width, channels = struct.unpack(">BHHB", frame[:6].ljust(6, b"\0"))
    coding = next((f"SOF{mark - 0xC0}" for mark, _ in pieces if mark in (0xC0, 0xC1, 0xC2)), "")
    metadata = [
        _show(f"marker {mark:02X}".encode(), body)
        for mark, body in pieces
        # The resolution in a JFIF header is history, too, unless it is the aspect 1:1.
        if mark not in _JPEG_NEEDED and (mark != _JFIF or body[7:14] != b"\0\0\1\0\1\0\0")
    ]
    if end < len(content):
        metadata.append(_show(b"after the end", content[end:]))
    tables = b"".join(body for mark, body in pieces if mark == 0xDB)
    names, lengths = _sum_up([(f"{mark:02X}", len(body)) for mark, body in pieces])
    return Container(
        format="JPEG",
        width=width,
        height=height,
        samples=f"{bits}/{channels}/{frame[6:].hex()}",
        chunks=names,
        lengths=lengths,
        tables=hashlib.sha256(tables).hexdigest()[:16],
        coding=coding,
        metadata=tuple(metadata),
    )


def _after_samples(content: bytes, place: int) -> int:
    """Return where the next marker is that is neither stuffing nor a restart."""
    while (place := content.find(b"\xff", place)) >= 0 and place + 1 < len(content):
        if content[place + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            return place
        place += 1
    return len(content)


def _sum_up(pieces: list[tuple[str, int]]) -> tuple[str, str]:
    """Return names, repeated ones once, and the length of each such group."""
    names: list[str] = []
    lengths: list[int] = []
    for name, length in pieces:
        if names and names[-1] == name:
            lengths[-1] += length
        else:
            names.append(name)
            lengths.append(length)
    return " ".join(names), " ".join(map(str, lengths))


def _show(name: bytes, body: bytes) -> str:
    start = body[:40].decode("latin-1")
    return f"{name.decode('latin-1')}: {start!r}"
