"""Films that do not flicker: strokes that stay with the scene, and a measure of those that do not.

A generator sees each frame alone: where the camera moves by a pixel, its strokes jump, since its
grid, its noise and the field that bends pictures for it are fixed to the frame. So, following the
motion of the scene from frame to frame, all three move along with it (:class:`Steadier`), and the
previous result, moved by optical flow, is mixed in where it fits: not where something was hidden
before, and not across a cut.

Optical flow is OpenCV's DIS (Kroeger et al. 2016); docs/films.md has it beside scikit-image's.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.data.decode import Rgb
from impasto.options.errors import ImpastoError

__all__ = ["Steadier", "WarpingError", "require_cv2"]

Floats = NDArray[np.float32]
Paint = Callable[[Rgb, tuple[int, int]], Rgb]

# Share of the previous result where it fits. The error falls with (1 - a)^2 / (1 + a), a being the
# share, and what is moved again and again becomes soft: measured in docs/films.md.
_SHARE = 0.6
# Where strokes stay on the screen: SSIM to the film frame by frame stays above .95.
_SHARE_ON_SCREEN = 0.3
# Below this part of a frame that comes from the one before, there was a cut.
_CUT = 0.25
# How far a color may be off, in values of 255, until the previous result counts for 1/e.
_COLOR = 20.0
_SOFT_PX = 5
_SMALLEST_PX = 16  # below it there is no flow to be found


def require_cv2() -> Any:
    """Return the module ``cv2`` (OpenCV).

    Raises:
        ImpastoError: it is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise ImpastoError(
            "steady films and their measure need the package OpenCV: pip install "
            "opencv-python-headless"
        ) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class _Motion:
    """Where a frame comes from.

    Attributes:
        flow: (H, W, 2), for each pixel x and y of its place in the frame before, minus its own.
        fits: (H, W), whether that place is in the frame, and the flow back leads here again.
        colors: (H, W), mean absolute difference of the colors there and here, in values of 255.
        moved: the frame before, moved by the flow, RGB, (H, W, 3), float.
    """

    flow: Floats
    fits: NDArray[np.bool_]
    colors: Floats

    @property
    def is_cut(self) -> bool:
        return bool(np.mean(self.fits & (self.colors < 2 * _COLOR)) < _CUT)


def _find_motion(before: Rgb, now: Rgb) -> _Motion:
    """Find where each pixel of a frame was in the frame before.

    The check forward and backward is that of Sundaram et al. 2010, equation 5.
    """
    cv2 = require_cv2()
    gray = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (before, now)]
    if min(now.shape[:2]) < _SMALLEST_PX:
        there = back = np.zeros((*now.shape[:2], 2), np.float32)
    else:
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        there, back = search.calc(gray[1], gray[0], None), search.calc(gray[0], gray[1], None)
    returned = _warp(back, there)
    apart = np.sum((there + returned) ** 2, axis=2)
    length = np.sum(there**2, axis=2) + np.sum(returned**2, axis=2)
    height, width = now.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x + there[..., 0], y + there[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    moved = _warp(before.astype(np.float32), there)
    return _Motion(
        flow=there,
        fits=inside & (apart <= 0.01 * length + 0.5),
        colors=np.abs(moved - now).mean(axis=2, dtype=np.float32),
    )


def _warp(values: Floats, flow: Floats) -> Floats:
    """Look at values, (H, W, C), where the flow leads."""
    cv2 = require_cv2()
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    warped: Floats = cv2.remap(
        values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return warped


class Steadier:
    """Makes the results of a film's frames, one after another.

    Args:
        share: share of the previous result where it fits, from 0 to below 1; None: the usual one.
        follows: whether strokes follow the scene; otherwise they stay on the screen, each result is
            near to the frame's own translation, and less of the previous one is mixed in.
    """

    def __init__(self, share: float | None = None, *, follows: bool = True) -> None:
        usual = _SHARE if follows else _SHARE_ON_SCREEN
        self._share, self._follows = usual if share is None else share, follows
        self._source: Rgb | None = None
        self._result: Rgb | None = None
        self._place = np.zeros(2)

    def step(self, source: Rgb, paint: Paint) -> Rgb:
        """Return the result of the next frame.

        Args:
            source: frame, RGB, (H, W, 3), uint8; all of one size.
            paint: function that translates a frame, given the place of its first pixel in the
                scene: y and x in pixels, since the last cut.

        Returns:
            RGB, (H, W, 3), uint8.
        """
        motion = None if self._source is None else _find_motion(self._source, source)
        if motion is None or motion.is_cut or self._result is None:
            self._place = np.zeros(2)
            result = paint(source, (0, 0))
        else:
            if self._follows:
                self._place = self._place + np.median(motion.flow[motion.fits], axis=0)[::-1]
            y, x = (round(float(side)) for side in self._place)
            result = self._mix(paint(source, (y, x)), self._result, motion)
        self._source, self._result = source, result
        return result

    def _mix(self, painted: Rgb, before: Rgb, motion: _Motion) -> Rgb:
        cv2 = require_cv2()
        likely = np.exp(-((motion.colors / _COLOR) ** 2)) * motion.fits
        # Soft borders between old and new; never more than where it fits.
        share = np.minimum(cv2.blur(likely, (_SOFT_PX, _SOFT_PX)), likely) * self._share
        moved = _warp(before.astype(np.float32), motion.flow)
        mixed = painted + share[..., None] * (moved - painted)
        rounded: Rgb = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        return rounded

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the next step depends on, as arrays."""
        if self._source is None or self._result is None:
            return {}
        return {"source": self._source, "result": self._result, "place": self._place}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from :meth:`state`."""
        if state:
            self._source, self._result = state["source"], state["result"]
            self._place = np.asarray(state["place"], np.float64)


class WarpingError:
    """How much a film flickers: the warping error of Lai et al. 2018, section 4.2.

    Each frame is compared with the one before, moved by the optical flow of the inputs (of the film
    itself where there are none): the mean of the squared differences, in colors from 0 to 1, over
    all pixels that were not hidden before (Ruder et al. 2016, section 4.1: flow forward and
    backward agree, and no border of motions is near) and all channels; then the mean over all pairs
    of frames but those across a cut. 0 is a film in which everything keeps its color as it moves;
    equal flow and equal inputs are needed to compare two films.

    Departure: the flow is DIS, not FlowNet 2.0, which needs weights.
    """

    def __init__(self) -> None:
        self._errors: list[float] = []
        self.cuts = 0
        self._before: tuple[Rgb, Rgb] | None = None

    def add(self, source: Rgb, result: Rgb) -> None:
        """Add the next frame: of the inputs, and of the film; RGB, (H, W, 3), uint8, of one size.

        Raises:
            ValueError: the sizes differ.
        """
        if source.shape != result.shape:
            raise ValueError(f"expected frames of one size, got {source.shape}, {result.shape}")
        before, self._before = self._before, (source, result)
        if before is None:
            return
        motion = _find_motion(before[0], source)
        if motion.is_cut:
            self.cuts += 1
            return
        flow = motion.flow
        if min(flow.shape[:2]) > 1:
            slopes = sum(np.sum(np.square(np.gradient(flow, axis=axis)), axis=2) for axis in (0, 1))
        else:
            slopes = np.zeros(flow.shape[:2], np.float32)
        counted = motion.fits & (slopes <= 0.01 * np.sum(flow**2, axis=2) + 0.002)
        if counted.any():
            apart = (_warp(before[1].astype(np.float32), flow) - result) / 255
            self._errors.append(float(np.mean(np.square(apart[counted]))))

    @property
    def value(self) -> float:
        """The error so far; NaN without two frames that belong together."""
        return float(np.mean(self._errors)) if self._errors else float("nan")
