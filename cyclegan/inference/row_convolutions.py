"""Convolutions of strips of rows on a processor, each computed in the way that is fastest there.

All take rows that are padded already and return the rows that a convolution without padding would,
as the layers' own weights give them, up to rounding. Channels are the last dimension in memory, so
that rows are one block. Those of :mod:`impasto.cyclegan.convolutions`, which train, know gradients.
"""

import platform
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "RowConvolution",
    "convolution_of",
    "copied_bytes",
    "enlarging",
    "plain",
    "transposed",
    "two_by_two",
    "winograd",
]

RowConvolution = Callable[[Tensor], Tensor]
"""From padded rows, (1, C, h, w), to rows, (1, K, h', w'), both with channels last in memory."""

# Where both numbers of channels reach this, F(4, 3) takes 0.46 (256) to 0.66 (128) of the time of
# oneDNN's direct convolution, measured with AVX2 and AVX-512; 0.9 with 64 filters, 1.2 with 32.
_MANY_CHANNELS = 128
# oneDNN computes 16 filters at once, whether there are as many or not.
_FEW_FILTERS = 4
_TILE_AREA = 6 * 6


def convolution_of(
    weight: Tensor, bias: Tensor | None, *, stride: int = 1
) -> tuple[RowConvolution, int]:
    """Return the fastest convolution for some weights, and of how many rows it makes multiples.

    The choice follows the weights' shape and the kind of processor and not a measurement, so that
    equal pictures have equal results.

    Args:
        weight: (K, C, kh, kw), float32.
        bias: (K,), or None.
        stride: number of rows and columns from one result to the next one.
    """
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    if stride == 1 and _is_wide(weight):
        return winograd(weight, bias), 4
    if stride == 1 and len(weight) <= _FEW_FILTERS:
        return two_by_two(weight, bias), 2
    return plain(weight, bias, stride=stride), 1


def _is_wide(weight: Tensor) -> bool:
    """Whether a convolution has channels enough for Winograd, where that was measured."""
    measured = platform.machine().lower() in {"x86_64", "amd64"}
    return measured and weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= _MANY_CHANNELS


def copied_bytes(weight: Tensor) -> int:
    """Return about how much a convolution keeps beside its weights, (K, C, kh, kw), in bytes."""
    own = weight.numel() * weight.element_size()
    return own * _TILE_AREA // (3 * 3) if weight.ndim == 4 and _is_wide(weight) else own


def plain(weight: Tensor, bias: Tensor | None, *, stride: int = 1) -> RowConvolution:
    """Return torch's own convolution, without padding."""
    weight = weight.contiguous(memory_format=torch.channels_last)
    return lambda rows: F.conv2d(rows, weight, bias, stride)


def enlarging(weight: Tensor, bias: Tensor | None) -> tuple[RowConvolution, int]:
    """Return a convolution of 3 x 3 that doubles the sides by bilinear interpolation before it.

    Interpolation is linear, too: each of the four pixels that a pixel becomes is a convolution of
    3 x 3 of what is not yet enlarged. So nothing is enlarged, and the multiplications are as many.

    Args:
        weight: (K, C, 3, 3).
        bias: (K,), or None.

    Returns:
        The function from padded rows, (1, C, h + 2, w + 2), to (1, K, 2 h, 2 w), and the number of
        which h has to be a multiple.
    """
    # For the upper pixel and the lower one: by how much each of three rows of the source counts in
    # each of the three enlarged rows under the kernel.
    shares = torch.tensor(_ENLARGED, dtype=torch.float64, device=weight.device)
    filters = torch.einsum("aui,bvj,kcuv->kabcij", shares, shares, weight.detach().double())
    biases = None if bias is None else bias.detach().repeat_interleave(4)
    convolve, multiple = convolution_of(filters.flatten(0, 2).to(weight.dtype), biases)
    return lambda rows: F.pixel_shuffle(convolve(rows), 2), multiple


_ENLARGED = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25)),
    ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75)),
)


def transposed(layer: nn.ConvTranspose2d) -> RowConvolution:
    """Return torch's own transposed convolution, with the layer's padding."""

    def convolve(rows: Tensor) -> Tensor:
        return F.conv_transpose2d(
            rows,
            layer.weight,
            layer.bias,
            layer.stride,
            layer.padding,  # type: ignore[arg-type]
            layer.output_padding,
        )

    return convolve


def two_by_two(weight: Tensor, bias: Tensor | None) -> RowConvolution:
    """Return a convolution of few filters that computes squares of 2 x 2 pixels at once.

    Each filter becomes four, of one more row and column, shifted to the four pixels of a square:
    12 filters that jump by two pixels take a third of the time of 3 that do not (7 x 7, 32
    channels: 58 GFLOP/s instead of 20). Zeros are added only, so the sums are the same.

    Args:
        weight: (K, C, kh, kw).
        bias: (K,), or None.
    """
    filters, channels, high, wide = weight.shape
    spread = weight.new_zeros(filters, 2, 2, channels, high + 1, wide + 1)
    for row in range(2):
        for column in range(2):
            spread[:, row, column, :, row : row + high, column : column + wide] = weight.detach()
    spread = spread.flatten(0, 2).contiguous(memory_format=torch.channels_last)
    biases = None if bias is None else bias.detach().repeat_interleave(4)

    def convolve(rows: Tensor) -> Tensor:
        width = rows.shape[3] - wide + 1
        rows = F.pad(rows, (0, 1)) if width % 2 else rows
        return F.pixel_shuffle(F.conv2d(rows, spread, biases, stride=2), 2)[..., :width]

    return convolve


# F(4 x 4, 3 x 3) of Lavin and Gray 2016 (Fast algorithms for convolutional neural networks): G.
_KERNEL_TO_TILE = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def winograd(weight: Tensor, bias: Tensor | None) -> RowConvolution:
    """Return a convolution of 3 x 3 that multiplies a quarter as often, as 36 matrix products.

    Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray 2016). The rounding is coarser: on
    values of standard deviation 1, sums differ by 5e-5 at most where they differ by 2e-6 else.
    The height of what it makes is a multiple of 4; the width may be any.

    Args:
        weight: (K, C, 3, 3).
        bias: (K,), or None.
    """

    @cache
    def filters() -> Tensor:  # four times the weights, so only once they are used
        change = torch.tensor(_KERNEL_TO_TILE, dtype=torch.float64)
        tiles = torch.einsum("ij,kcjl,ml->imck", change, weight.double(), change)
        return tiles.flatten(0, 1).to(weight.dtype).contiguous()

    def convolve(rows: Tensor) -> Tensor:
        width = rows.shape[3] - 2
        rows = F.pad(rows, (0, -width % 4)) if width % 4 else rows
        made = _winograd(rows.permute(0, 2, 3, 1)[0], filters())[None, :, :width]
        return (made if bias is None else made + bias).permute(0, 3, 1, 2)

    return convolve


def _winograd(values: Tensor, filters: Tensor) -> Tensor:
    """Convolve (4 h + 2, 4 w + 2, C) with 36 matrices of (C, K): (4 h, 4 w, K)."""
    channels, made = filters.shape[1:]
    high, wide = (values.shape[0] - 2) // 4, (values.shape[1] - 2) // 4
    by_rows = values.new_empty(6, high, values.shape[1], channels)
    _to_tile([values[row : row + 4 * high - 3 : 4] for row in range(6)], by_rows)
    tiles = values.new_empty(6, 6, high, wide, channels)
    columns = [by_rows[:, :, column : column + 4 * wide - 3 : 4] for column in range(6)]
    _to_tile(columns, tiles.transpose(0, 1))
    products = torch.bmm(tiles.view(36, high * wide, channels), filters)
    products = products.view(6, 6, high, wide, made)
    by_rows = values.new_empty(4, 6, high, wide, made)
    _from_tile(products, by_rows)
    result = values.new_empty(high, 4, wide, 4, made)
    _from_tile(by_rows.transpose(0, 1), result.permute(3, 1, 0, 2, 4))
    return result.view(4 * high, 4 * wide, made)


def _to_tile(d: list[Tensor], out: Tensor) -> None:
    """Multiply six values by the matrix B transposed of Lavin and Gray 2016."""
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(d[0], d[2], out=out[0])
    torch.add(even, out[0], alpha=4, out=out[0])
    torch.sub(d[5], d[3], out=even)
    torch.sub(even, odd, alpha=4, out=out[5])


def _from_tile(m: Tensor, out: Tensor) -> None:
    """Multiply six values by the matrix A transposed of Lavin and Gray 2016."""
    near, far = m[1] + m[2], m[3] + m[4]
    torch.add(m[0], near, out=out[0])
    out[0].add_(far)
    torch.add(near, far, alpha=4, out=out[2])
    torch.sub(m[1], m[2], out=near)
    torch.sub(m[3], m[4], out=far)
    torch.add(near, far, alpha=2, out=out[1])
    torch.add(near, far, alpha=8, out=out[3])
    out[3].add_(m[5])
