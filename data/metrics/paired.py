"""How far apart two pictures are: in pixels, structure, color, edges and palette.

Every measure takes RGB uint8 arrays and returns one float. All but ``palette_distance`` compare
pixel with pixel, so their two pictures must have the same size. A set of pictures is compared with
the true ones by all measures at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import skimage  # whose parts are imported when they are first used, with SciPy

from impasto.data.decode import Rgb

__all__ = [
    "Comparison",
    "color_distance",
    "compare",
    "edge_correlation",
    "mean_absolute_error",
    "palette_distance",
    "psnr",
    "ssim",
]


_Picture = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]

# Wang et al. 2004, section III-B: an 11 x 11 Gaussian window with sigma 1.5.
_SSIM_WINDOW_PX = 11


def mean_absolute_error(first: _Picture, second: _Picture) -> float:
    """Average the absolute difference over pixels and channels.

    Args:
        first: RGB, shape (H, W, 3), uint8.
        second: likewise, of the same size.

    Returns:
        Gray levels, 0 (equal) to 255.

    Raises:
        ValueError: a picture is not RGB uint8, or the sizes differ.
    """
    _check_pair(first, second)
    return float(np.abs(first.astype(np.int16) - second).mean())


def psnr(first: _Picture, second: _Picture) -> float:
    """Compute the peak signal-to-noise ratio of the luminance (Rec. 709 weights).

    Args:
        first: RGB, shape (H, W, 3), uint8.
        second: likewise, of the same size.

    Returns:
        Decibels: 0 for black against white, infinite for equal pictures.

    Raises:
        ValueError: a picture is not RGB uint8, or the sizes differ.
    """
    _check_pair(first, second)
    one, other = _luminance(first), _luminance(second)
    if np.array_equal(one, other):
        return float("inf")
    ratio = skimage.metrics.peak_signal_noise_ratio(one, other, data_range=1.0)  # type: ignore[no-untyped-call]
    return float(ratio)


def ssim(first: _Picture, second: _Picture) -> float:
    """Compute the structural similarity of the luminance (Rec. 709 weights).

    Args:
        first: RGB, shape (H, W, 3), uint8, at least 11 x 11 pixels.
        second: likewise, of the same size.

    Returns:
        -1 to 1; 1 for equal pictures.

    Raises:
        ValueError: a picture is not RGB uint8, is too small, or the sizes differ.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment: From Error
    Visibility to Structural Similarity", with their window and constants.
    """
    _check_pair(first, second)
    if min(first.shape[:2]) < _SSIM_WINDOW_PX:
        size = f"{first.shape[0]} x {first.shape[1]}"
        raise ValueError(f"ssim: expected at least 11 x 11 pixels, got {size}")
    similarity = skimage.metrics.structural_similarity(  # type: ignore[no-untyped-call]
        _luminance(first),
        _luminance(second),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def color_distance(first: _Picture, second: _Picture) -> float:
    """Average the perceived color difference CIEDE2000 over the pixels.

    Args:
        first: RGB, shape (H, W, 3), uint8.
        second: likewise, of the same size.

    Returns:
        Delta E, from 0 (equal); about 1 is just noticeable, 100 is black against white.

    Raises:
        ValueError: a picture is not RGB uint8, or the sizes differ.

    Source: Sharma, Wu and Dalal 2005, "The CIEDE2000 Color-Difference Formula".
    """
    _check_pair(first, second)
    one, other = (skimage.color.rgb2lab(picture) for picture in (first, second))
    delta = skimage.color.deltaE_ciede2000(one, other)  # type: ignore[no-untyped-call]
    return float(delta.mean())


def edge_correlation(first: _Picture, second: _Picture) -> float:
    """Correlate (Pearson) the gradient magnitudes of the luminance, by Sobel filters.

    Says whether edges lie in the same places; brightness and contrast do not matter.

    Args:
        first: RGB, shape (H, W, 3), uint8.
        second: likewise, of the same size.

    Returns:
        -1 to 1; 1 for edges in the same places, about 0 for unrelated ones. 0 where a picture has
        the same slope everywhere, for instance because it is plain: it has no edges to compare.

    Raises:
        ValueError: a picture is not RGB uint8, or the sizes differ.
    """
    _check_pair(first, second)
    one, other = _steepness(first), _steepness(second)
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    # Rounding leaves slopes of about 1e-16 in a plain picture.
    if norm < 1e-12 * one.size:
        return 0.0
    return float(np.sum(one * other)) / norm


def palette_distance(
    first: _Picture,
    second: _Picture,
    generator: np.random.Generator,
    *,
    directions: int = 32,
) -> float:
    """Compare which colors two pictures hold, wherever they stand in them.

    The sliced Wasserstein-1 distance between the pixels' colors in CIE L*a*b*: the cost of
    moving one cloud of colors onto the other, averaged over random directions.

    Args:
        first: RGB, shape (H, W, 3), uint8.
        second: likewise, of any size. To compare sets, lay the pictures of each side by side.
        generator: draws the directions.
        directions: how many to average over.

    Returns:
        L*a*b* units, from 0 (the same palette); a shift of all colors by d gives about d / 2.

    Raises:
        ValueError: a picture is not RGB uint8, or there are no directions.

    Source: Rabin, Peyré, Delon and Bernot 2011, "Wasserstein Barycenter and Its Application to
    Texture Mixing" (the sliced distance; theirs is squared, ours is not).
    """
    _check(first, "first")
    _check(second, "second")
    if directions < 1:
        raise ValueError(f"directions: expected at least 1, got {directions}")
    axes = generator.normal(size=(3, directions))
    axes /= np.linalg.norm(axes, axis=0)
    one, other = (skimage.color.rgb2lab(picture).reshape(-1, 3) for picture in (first, second))
    transport = _Transport(len(one), len(other))
    # One direction at a time: all of two large sets would take a gigabyte.
    return float(np.mean([transport(one @ axis, other @ axis) for axis in axes.T]))


def _steepness(rgb: _Picture) -> _Floats:
    """Measure the gradient magnitude of the luminance, (H, W), by Sobel filters."""
    steepness = skimage.filters.sobel(_luminance(rgb), mode="nearest")  # type: ignore[no-untyped-call]
    return np.asarray(steepness, dtype=np.float64)


class _Transport:
    """The Wasserstein-1 distance of samples of two sizes: the area between their quantiles.

    Args:
        count: number of values of the one.
        others: number of values of the other.
    """

    def __init__(self, count: int, others: int) -> None:
        self._places: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None = None
        self._widths: _Floats = np.ones(1)
        if count == others:
            return
        # Both quantile functions are steps: between two neighboring steps nothing changes.
        steps = np.union1d(np.arange(1, count) / count, np.arange(1, others) / others)
        edges = np.concatenate([[0.0], steps, [1.0]])
        middle = (edges[1:] + edges[:-1]) / 2
        self._places = (middle * count).astype(np.intp), (middle * others).astype(np.intp)
        self._widths = np.diff(edges)

    def __call__(self, one: _Floats, other: _Floats) -> float:
        """Return the distance of two samples of those sizes, in any order."""
        one, other = np.sort(one), np.sort(other)
        if self._places is None:  # each step meets its like
            return float(np.mean(np.abs(one - other)))
        gaps = one[self._places[0]] - other[self._places[1]]
        return float(np.sum(np.abs(gaps) * self._widths))


def _luminance(rgb: _Picture) -> _Floats:
    """Weigh the channels into (H, W) in 0..1."""
    return np.asarray(skimage.color.rgb2gray(rgb), dtype=np.float64)


def _check(picture: _Picture, name: str) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(
            f"{name}: expected RGB (H, W, 3) uint8, got {picture.shape} {picture.dtype}"
        )


def _check_pair(first: _Picture, second: _Picture) -> None:
    _check(first, "first")
    _check(second, "second")
    if first.shape != second.shape:
        raise ValueError(f"expected two pictures of one size, got {first.shape}, {second.shape}")


Pictures = Mapping[str, Rgb]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Means over all pairs of pictures; ``palette_distance`` is of the sets as wholes.

    Attributes:
        mean_absolute_error: 0 to 255, lower is better.
        color_distance: CIEDE2000, lower is better.
        palette_distance: L*a*b* units, lower is better.
        psnr: dB, higher is better.
        ssim: up to 1, higher is better.
        edge_correlation: up to 1, higher is better.
    """

    mean_absolute_error: float
    color_distance: float
    palette_distance: float
    psnr: float
    ssim: float
    edge_correlation: float

    def as_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


def compare(results: Pictures, truth: Pictures, *, seed: int = 0) -> Comparison:
    """Compare pictures with the true ones of the same names.

    Args:
        results: RGB, (H, W, 3), uint8, by name.
        truth: pictures of the same sizes, by the same names.
        seed: draws the directions of the palette distance.

    Raises:
        ValueError: the names differ, or there are none.
    """
    if not results or results.keys() != truth.keys():
        raise ValueError(
            f"expected the same names on both sides, got {len(results)} and {len(truth)} pictures"
        )
    pairs = [(results[name], truth[name]) for name in sorted(truth)]
    clouds = [
        np.concatenate([side.reshape(-1, 1, 3) for side in sides])
        for sides in zip(*pairs, strict=True)
    ]

    def mean(measure: Callable[[Rgb, Rgb], float]) -> float:
        return float(np.mean([measure(one, other) for one, other in pairs]))

    return Comparison(
        mean_absolute_error=mean(mean_absolute_error),
        color_distance=mean(color_distance),
        palette_distance=palette_distance(clouds[0], clouds[1], np.random.default_rng(seed)),
        psnr=mean(psnr),
        ssim=mean(ssim),
        edge_correlation=mean(edge_correlation),
    )
