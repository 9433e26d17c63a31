"""How much films flicker, frame by frame and steady, and how good and fast optical flow is.

A camera moves over a photograph (of scikit-image, or PHOTO) by 2.3 pixels to the right and 0.4 down
with each frame, so that the motion is known exactly: errors are measured with it, not with an
estimate.

Run: python benchmarks/film_flicker.py [--models monet vangogh paintings] [--photo PHOTO]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from impasto.cyclegan.films.steady import Steadier, WarpingError, require_cv2
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.models import find_generator
from impasto.data.decode import read_picture
from impasto.data.metrics.paired import ssim

cv2 = require_cv2()

Rgb = NDArray[np.uint8]
Flow = NDArray[np.float32]

STEP = (2.3, 0.4)
BORDER_PX = 8


def pan(photograph: Rgb, count: int, height: int, width: int) -> list[Rgb]:
    """Return the frames of the camera."""
    frames = []
    for index in range(count):
        move = np.array([[1, 0, 20 + STEP[0] * index], [0, 1, 20 + STEP[1] * index]], np.float32)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        frames.append(np.asarray(cv2.warpAffine(photograph, move, (width, height), flags=flags)))
    return frames


def true_error(frames: Sequence[Rgb]) -> float:
    """Return the mean squared difference of each frame from the one before, moved exactly."""
    height, width = frames[0].shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    errors = []
    for before, now in pairwise(frames):
        moved = cv2.remap(before.astype(np.float32), x + STEP[0], y + STEP[1], cv2.INTER_CUBIC)
        inside = np.s_[:-BORDER_PX, :-BORDER_PX]
        errors.append(np.mean(np.square((moved - now)[inside] / 255)))
    return float(np.mean(errors))


def flows(frames: Sequence[Rgb]) -> None:
    """Print how far each method is from the true motion, and the seconds for a pair of frames."""
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]

    def dis(preset: int) -> Callable[[Rgb, Rgb], Flow]:
        def find(before: Rgb, now: Rgb) -> Flow:
            search = cv2.DISOpticalFlow_create(preset)
            return np.asarray(search.calc(now, before, None))

        return find

    def of_scikit_image(method: Callable[..., Any]) -> Callable[[Rgb, Rgb], Flow]:
        def find(before: Rgb, now: Rgb) -> Flow:
            v, u = method(now / 255, before / 255, dtype=np.float32)
            return np.stack([u, v], axis=2)

        return find

    methods = {
        "DIS, medium (OpenCV)": dis(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
        "DIS, fast (OpenCV)": dis(cv2.DISOPTICAL_FLOW_PRESET_FAST),
        "ILK (scikit-image)": of_scikit_image(optical_flow_ilk),
        "TV-L1 (scikit-image)": of_scikit_image(optical_flow_tvl1),
    }
    for name, find in methods.items():
        started, errors = time.perf_counter(), []
        pairs = list(pairwise(gray[:4]))
        for before, now in pairs:
            away = np.hypot(*np.moveaxis(find(before, now) - np.array(STEP, np.float32), 2, 0))
            errors.append(float(away[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].mean()))
        seconds = (time.perf_counter() - started) / len(pairs)
        print(f"{name}: {np.mean(errors):.3f} px from the truth, {seconds:.4f} s", flush=True)


def flicker(name: str, frames: Sequence[Rgb]) -> None:
    """Print what a model's film flickers, frame by frame and steady."""
    translator = Translator.of(find_generator(Path(name)), device=torch.device("cpu"))
    started = time.perf_counter()
    alone = [translator.begin([frame])()[0] for frame in frames]
    seconds = time.perf_counter() - started
    plain, measured = true_error(alone), WarpingError()
    for frame, made in zip(frames, alone, strict=True):
        measured.add(frame, made)
    print(
        f"{name}, frame by frame: {plain:.2e} ({measured.value:.2e} by its own flow), "
        f"{seconds / len(frames):.2f} s a frame",
        flush=True,
    )
    own: list[Rgb] = []

    def paint(rgb: Rgb, origin_px: tuple[int, int]) -> Rgb:
        own.append(translator.in_scene(rgb, origin_px))
        return own[-1]

    for share in (0.0, 0.5, 0.6, 0.8):
        own.clear()
        steadier, started = Steadier(share), time.perf_counter()
        results = [steadier.step(frame, paint) for frame in frames]
        seconds = time.perf_counter() - started
        alike = [ssim(one, other) for one, other in zip(results, own, strict=True)]
        literal = [ssim(one, other) for one, other in zip(results, alone, strict=True)]
        print(
            f"{name}, steady, share {share}: {true_error(results):.2e} "
            f"({true_error(results) / plain:.3f}), SSIM {np.mean(alike):.3f} (least "
            f"{min(alike):.3f}) to the unmixed, {np.mean(literal):.3f} to frame by frame, "
            f"{seconds / len(frames):.2f} s a frame",
            flush=True,
        )
    # With --steady_strokes screen (0.3): strokes stay on the screen.
    for share in (0.2, 0.25, 0.3, 0.6):
        steadier, translations = Steadier(share, follows=False), iter(alone)
        results = [steadier.step(frame, partial(_next, translations)) for frame in frames]
        alike = [ssim(one, other) for one, other in zip(results, alone, strict=True)]
        print(
            f"{name}, frame by frame and mixed, share {share}: {true_error(results):.2e} "
            f"({true_error(results) / plain:.3f}), SSIM {np.mean(alike):.3f} (least "
            f"{min(alike):.3f}) to frame by frame",
            flush=True,
        )


def _next(translations: Iterator[Rgb], _frame: Rgb, _place: tuple[int, int]) -> Rgb:
    return next(translations)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["monet", "vangogh", "paintings", "monet_cycle"]
    )
    parser.add_argument("--photo", type=Path, help="photograph, 60 pixels larger than the frames")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width", type=int, default=320)
    parsed = parser.parse_args()
    photograph: Rgb = data.coffee()  # type: ignore[no-untyped-call]
    if parsed.photo is not None:
        photograph = read_picture(parsed.photo).rgb
    frames = pan(photograph, parsed.frames, parsed.height, parsed.width)
    print(f"the photograph itself: {true_error(frames):.2e}")
    flows(frames)
    for name in parsed.models:
        flicker(name, frames)


if __name__ == "__main__":
    main()
