"""The sliced Wasserstein distance of picture sets, scale by scale (Karras et al. 2018, section 5).

Each picture becomes a Laplacian pyramid; small patches are drawn from every level of it. The
distance of two sets at a level is the sliced Wasserstein distance of their patches: a small one
means similar variation of structures of that size, from the finest (256 px, say) to 16 px.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from impasto.data.decode import Rgb

__all__ = ["PatchSampler", "patch_descriptors", "patch_distance"]

_Floats = NDArray[np.float32]

# Karras et al. 2018, section 5: 7 x 7 patches with three channels, levels down to 16 pixels,
# 512 random directions; Burt and Adelson 1983: the filter of the pyramid.
_PATCH_PX = 7
_SMALLEST_PX = 16
_DIRECTIONS = 512
_FILTER = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16


def patch_descriptors(
    pictures: Sequence[Rgb], generator: np.random.Generator, *, patches: int = 16384
) -> dict[int, _Floats]:
    """Draw patches from the Laplacian pyramids of a set.

    Args:
        pictures: RGB, (S, S, 3), uint8, all squares of one side, a power of two from 16.
        generator: draws the places.
        patches: number of patches of each level, taken evenly from all pictures. Karras et al. take
            128 of each of 16,384 pictures; small sets need more of each.

    Returns:
        For each level, by its side in pixels, finest first: (patches, 147) float32, every color
        channel of the whole set with mean 0 and standard deviation 1, as in Karras et al. Hence
        the distance sees structure, and neither palette nor contrast.

    Raises:
        ValueError: there are no pictures, or they are not such squares.
    """
    _check(pictures)
    sampler = PatchSampler(len(pictures), generator, patches=patches)
    for picture in pictures:
        sampler.add(picture)
    return sampler.result()


class PatchSampler:
    """Draws what :func:`patch_descriptors` draws, from pictures that are shown to it one by one.

    Args:
        count: number of pictures that will be added.
        generator: draws the places.
        patches: number of patches of each level, taken evenly from all pictures.
    """

    def __init__(self, count: int, generator: np.random.Generator, *, patches: int = 16384) -> None:
        self._generator = generator
        self._left = [patches // count + (place < patches % count) for place in range(count)]
        self._left.reverse()
        self._drawn: dict[int, list[_Floats]] = {}

    def add(self, picture: Rgb) -> None:
        """Draw from a picture, RGB, (S, S, 3), uint8, S the same power of two from 16 for all.

        Raises:
            ValueError: the picture is no such square, or one more than was announced.
        """
        side = _check([picture])
        if not self._left or (self._drawn and side not in self._drawn):
            raise ValueError(f"picture of {side} x {side} pixels: another size, or one too many")
        count = self._left.pop()
        for level in _laplacian_pyramid(picture.astype(np.float32)):
            self._drawn.setdefault(len(level), []).append(_draw(level, count, self._generator))

    def result(self) -> dict[int, _Floats]:
        """Return the descriptors, see :func:`patch_descriptors`.

        Raises:
            ValueError: fewer pictures came than were announced.
        """
        if self._left:
            raise ValueError(f"{len(self._left)} pictures fewer than announced")
        return {px: _standardize(np.concatenate(parts)) for px, parts in self._drawn.items()}


def patch_distance(
    first: Mapping[int, _Floats],
    second: Mapping[int, _Floats],
    generator: np.random.Generator,
    *,
    directions: int = _DIRECTIONS,
) -> dict[int, float]:
    """Compute the sliced Wasserstein-1 distance of two sets of patches, level by level.

    Args:
        first: out of :func:`patch_descriptors`.
        second: likewise, with the same levels and numbers of patches.
        generator: draws the directions.
        directions: how many to average over.

    Returns:
        Distance times 1000, as it is published, by the level's side in pixels; 0 for equal sets.
        Two samples of one distribution are not at 0: always compare with that floor.

    Raises:
        ValueError: levels or numbers of patches differ.
    """
    shapes = [{px: level.shape for px, level in side.items()} for side in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected the same levels and patches, got {shapes[0]} and {shapes[1]}")
    distances = {}
    for px in first:
        axes = generator.normal(size=(first[px].shape[1], directions)).astype(np.float32)
        axes /= np.linalg.norm(axes, axis=0)
        # A row for each direction: NumPy sorts what lies together twice as fast as columns.
        one, other = (np.sort(axes.T @ side[px].T, axis=1) for side in (first, second))
        distances[px] = 1000 * float(np.abs(one - other).mean())
    return distances


def _check(pictures: Sequence[Rgb]) -> int:
    shapes = {picture.shape for picture in pictures}
    side = next(iter(shapes))[0] if len(shapes) == 1 else 0
    power = side >= _SMALLEST_PX and side & (side - 1) == 0
    if not power or shapes != {(side, side, 3)} or any(p.dtype != np.uint8 for p in pictures):
        raise ValueError(
            "pictures: expected RGB squares (S, S, 3) uint8 of one side, a power of two from "
            f"{_SMALLEST_PX}, got {len(pictures)} pictures of {sorted(shapes)[:3]}"
        )
    return side


def _laplacian_pyramid(picture: _Floats) -> list[_Floats]:
    """Return what each level adds to the one below, finest first; the last is the small picture."""
    levels = []
    while len(picture) > _SMALLEST_PX:
        smaller = _blur(picture)[::2, ::2]
        levels.append(picture - _enlarge(smaller))
        picture = smaller
    return [*levels, picture]


def _enlarge(picture: _Floats) -> _Floats:
    spread = np.zeros((2 * len(picture), 2 * len(picture), 3), dtype=np.float32)
    spread[::2, ::2] = 4 * picture
    return _blur(spread)


def _blur(picture: _Floats) -> _Floats:
    for axis in (0, 1):
        picture = ndimage.correlate1d(picture, _FILTER, axis=axis, mode="mirror")
    return picture


def _draw(level: _Floats, count: int, generator: np.random.Generator) -> _Floats:
    """Cut patches out at random places, (count, 147)."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (_PATCH_PX, _PATCH_PX), axis=(0, 1))
    rows, columns = generator.integers(len(windows), size=(2, count))
    drawn: _Floats = windows[rows, columns].reshape(count, 3 * _PATCH_PX**2)
    return drawn


def _standardize(patches: _Floats) -> _Floats:
    """Give each color channel mean 0 and standard deviation 1; a flat channel stays at 0."""
    channels = patches.reshape(len(patches), 3, -1)
    mean = channels.mean(axis=(0, 2), keepdims=True)
    spread = channels.std(axis=(0, 2), keepdims=True)
    standard: _Floats = ((channels - mean) / np.maximum(spread, 1e-6)).reshape(len(patches), -1)
    return standard
