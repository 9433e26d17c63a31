"""Films for tests: a camera that moves over a photograph, with sound."""

import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage import data

Rgb = NDArray[np.uint8]

STEP = (0.4, 2.3)
"""How far :func:`pan` moves with each frame: down and to the right, in pixels."""


def need_av() -> Any:
    """Return PyAV; skip the test where it is not."""
    if importlib.util.find_spec("av") is None:
        pytest.skip('needs PyAV: pip install "impasto[film]"')
    import av  # noqa: PLC0415 - an extra

    return av


def pan(count: int, *, height: int = 64, width: int = 96, picture: str = "coffee") -> list[Rgb]:
    """Return frames of a camera that moves over a photograph of scikit-image."""
    whole = Image.fromarray(getattr(data, picture)())
    photograph = np.asarray(whole.resize((whole.width // 2, whole.height // 2)), np.float64)
    frames = []
    for index in range(count):
        y, x = np.mgrid[:height, :width].astype(np.float64)
        places = [y + 20 + STEP[0] * index, x + 20 + STEP[1] * index]
        channels = [map_coordinates(photograph[..., c], places, order=3) for c in range(3)]
        frames.append(np.clip(np.rint(np.stack(channels, 2)), 0, 255).astype(np.uint8))
    return frames


def write_film(
    path: Path,
    frames: Sequence[Rgb],
    *,
    times: Sequence[int] | None = None,
    unit: Fraction = Fraction(1, 12800),
    sound: bool = True,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    tags: tuple[int, int, int, int] | None = None,
) -> Path:
    """Write a film of 25 frames a second, or with the given times, and a tone beside it."""
    av = need_av()
    times = times or [512 * index for index in range(len(frames))]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "10", "threads": "1"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pixels, unit
        tone = out.add_stream("aac", rate=44100) if sound else None
        matrix, range_ = 5, 1
        if tags is not None:
            context = stream.codec_context
            matrix, context.color_primaries, context.color_trc, range_ = tags
            context.colorspace, context.color_range = matrix, range_
        for rgb, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pixels,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=range_,
            )
            frame.pts, frame.time_base = time, unit
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if tone is not None:
            count = round(float((times[-1] + 512) * unit) * 44100)
            wave = (9000 * np.sin(np.arange(count) * 440 * 2 * np.pi / 44100)).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            samples.sample_rate = 44100
            out.mux(tone.encode(samples))
            out.mux(tone.encode())
    return path


def packets(path: Path, kind: str) -> list[tuple[bytes, Fraction]]:
    """Return the packets of sound or pictures, and when they are, in seconds."""
    av = need_av()
    with av.open(str(path)) as film:
        stream = getattr(film.streams, kind)[0]
        return [
            (bytes(packet), packet.pts * packet.time_base)
            for packet in film.demux(stream)
            if packet.dts is not None
        ]
