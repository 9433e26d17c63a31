"""Convolutions with fewer or faster multiplications than the library's, to train on processors.

:class:`Conv2d` is torch's convolution, digit for digit, until :func:`economize` permits another
arithmetic. Then, on the processor and where gradients are wanted, it multiplies less:

- 3 x 3 filters of many channels by Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray
  2016, section 4.2), which makes 16 outputs of 36 products instead of 144, as do both gradients;
- large filters with few outputs, such as a generator's last layer, as one matrix product for all
  positions of the filter, whose results are then shifted and added up. The library leaves most of
  the vector units idle on 3 channels.

Sums are added up in another order, and Winograd's transforms round: results differ from the
library's by about 1e-5 of the largest one in float32. Tests hold the bounds.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["Conv2d", "economize", "tap_convolution", "winograd_convolution"]

# Below, the library takes as long or less: measured on an EPYC of 2021 (AVX2), one thread.
_LEAST_CHANNELS = 192
_LEAST_TILES = 64
_MOST_OUTPUTS = 4
_LEAST_INPUTS = 32
_LEAST_SIDE = 5


class Conv2d(nn.Conv2d):
    """A convolution that may be computed in another arithmetic while it trains on the processor.

    Attributes:
        economical: whether it may; set by :func:`economize`.
    """

    economical = False

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, in_channels, H, W)."""
        if self.economical and torch.is_grad_enabled() and self._is_plain(x):
            if self._by_winograd(x):
                return winograd_convolution(x, self.weight, self.bias)
            if self._by_taps():
                return tap_convolution(x, self.weight, self.bias)
        return super().forward(x)

    def _is_plain(self, x: Tensor) -> bool:
        geometry = (self.stride, self.dilation, self.padding, self.groups)
        return (
            geometry == ((1, 1), (1, 1), (0, 0), 1)
            and x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
        )

    def _by_winograd(self, x: Tensor) -> bool:
        rows, columns = _tiles(x)
        return (
            self.kernel_size == (3, 3)
            and min(self.in_channels, self.out_channels) >= _LEAST_CHANNELS
            and len(x) * rows * columns >= _LEAST_TILES
        )

    def _by_taps(self) -> bool:
        return (
            min(self.kernel_size) >= _LEAST_SIDE
            and self.out_channels <= _MOST_OUTPUTS
            and self.in_channels >= _LEAST_INPUTS
        )


def economize(network: nn.Module) -> None:
    """Permit all convolutions of a network that can to be computed in another arithmetic."""
    for module in network.modules():
        if isinstance(module, Conv2d):
            module.economical = True


def winograd_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve by Winograd's F(4 x 4, 3 x 3), without padding and with stride 1; differentiable.

    Args:
        x: input, (N, C, H, W), H and W at least 3, on the processor, float32 or float64.
        weight: filters, (O, C, 3, 3), of the same type.
        bias: what is added to each output channel, (O,); None: nothing.

    Returns:
        (N, O, H - 2, W - 2), contiguous.
    """
    made: Tensor = _Winograd.apply(x, weight)
    return made if bias is None else made + bias.view(-1, 1, 1)


def tap_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve by one matrix product for all positions of the filter ("taps"); differentiable.

    Without padding and with stride 1; meant for large filters with few output channels.

    Args:
        x: input, (N, C, H, W), H and W at least those of the filter, on the processor, float32 or
            float64.
        weight: filters, (O, C, K, L), of the same type.
        bias: what is added to each output channel, (O,); None: nothing.

    Returns:
        (N, O, H - K + 1, W - L + 1), contiguous.
    """
    made: Tensor = _Taps.apply(x, weight)
    return made if bias is None else made + bias.view(-1, 1, 1)


# Transforms of the input, of the filter and of the output, with the points 0, 1, -1, 2, -2 and
# infinity (Lavin and Gray 2016, section 4.2).
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_FILTER = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
# Positions that are transformed at once: what is written is still in the cache when it is read.
_AT_ONCE = 2**13


def _both_sides(rows: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """Return the matrix that transforms rows and columns of a square, written as one vector."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(like.dtype)


class _Winograd(torch.autograd.Function):
    """What is computed in tiles of 6 x 6 inputs, 2 of them shared with each neighbor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        made = torch.bmm(_transformed_filters(weight), _transformed_input(x))
        return _assembled_output(made, x, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        # Each transform in reverse, transposed: exactly the gradient of what was computed.
        x, weight = ctx.saved_tensors
        outputs, inputs = weight.shape[:2]
        of_made = _transformed_gradient(gradient)
        of_x = of_weight = None
        if ctx.needs_input_grad[1]:
            of_filters = torch.bmm(of_made, _transformed_input(x).transpose(1, 2))
            flat = _both_sides(_FILTER, x).t() @ of_filters.view(36, -1)
            of_weight = flat.view(3, 3, outputs, inputs).permute(2, 3, 0, 1).contiguous()
        if ctx.needs_input_grad[0]:
            of_tiles = torch.bmm(_transformed_filters(weight).transpose(1, 2), of_made)
            of_x = _assembled_gradient(of_tiles, x)
        return of_x, of_weight


def _tiles(x: Tensor) -> tuple[int, int]:
    """Return the number of rows and columns of tiles; the last ones may lie partly outside."""
    return -(-(x.shape[2] - 2) // 4), -(-(x.shape[3] - 2) // 4)


def _parts(channels: int, positions: int) -> list[slice]:
    count = max(1, _AT_ONCE // positions)
    return [slice(first, min(first + count, channels)) for first in range(0, channels, count)]


def _transformed_filters(weight: Tensor) -> Tensor:
    """Return filters (O, C, 3, 3) as (36, O, C)."""
    outputs, inputs = weight.shape[:2]
    flat = _both_sides(_FILTER, weight) @ weight.reshape(-1, 9).t()
    return flat.view(36, outputs, inputs)


def _transformed_input(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (36, C, tiles of all pictures)."""
    (pictures, channels), (rows, columns) = x.shape[:2], _tiles(x)
    missing = (4 * columns + 2 - x.shape[3], 4 * rows + 2 - x.shape[2])
    if any(missing):
        x = functional.pad(x, (0, missing[0], 0, missing[1]))
    tiles = x.unfold(2, 6, 4).unfold(3, 6, 4).permute(4, 5, 1, 0, 2, 3)
    positions, matrix = pictures * rows * columns, _both_sides(_INPUT, x)
    result = x.new_empty(36, channels * positions)
    for part in _parts(channels, positions):
        place = result[:, part.start * positions : part.stop * positions]
        torch.mm(matrix, tiles[:, :, part].reshape(36, -1), out=place)
    return result.view(36, channels, positions)


def _assembled_output(made: Tensor, x: Tensor, channels: int) -> Tensor:
    """Return the products, (36, O, tiles), as outputs (N, O, H - 2, W - 2)."""
    pictures, (rows, columns) = len(x), _tiles(x)
    positions, matrix = pictures * rows * columns, _both_sides(_OUTPUT, x)
    result = x.new_empty(pictures, channels, rows, 4, columns, 4)
    squares, flat = result.permute(3, 5, 1, 0, 2, 4), made.view(36, -1)
    for part in _parts(channels, positions):
        values = matrix @ flat[:, part.start * positions : part.stop * positions]
        squares[:, :, part] = values.view(4, 4, -1, pictures, rows, columns)
    whole = result.view(pictures, channels, 4 * rows, 4 * columns)
    return whole[:, :, : x.shape[2] - 2, : x.shape[3] - 2].contiguous()


def _transformed_gradient(gradient: Tensor) -> Tensor:
    """Return the gradient of outputs, (N, O, h, w), as that of the products, (36, O, tiles)."""
    pictures, channels, height, width = gradient.shape
    rows, columns = -(-height // 4), -(-width // 4)
    if 4 * rows > height or 4 * columns > width:
        gradient = functional.pad(gradient, (0, 4 * columns - width, 0, 4 * rows - height))
    squares = gradient.reshape(pictures, channels, rows, 4, columns, 4).permute(3, 5, 1, 0, 2, 4)
    positions, matrix = pictures * rows * columns, _both_sides(_OUTPUT, gradient).t().contiguous()
    result = gradient.new_empty(36, channels * positions)
    for part in _parts(channels, positions):
        place = result[:, part.start * positions : part.stop * positions]
        torch.mm(matrix, squares[:, :, part].reshape(16, -1), out=place)
    return result.view(36, channels, positions)


def _assembled_gradient(of_tiles: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of transformed inputs, (36, C, tiles), as that of the input."""
    (pictures, channels), (rows, columns) = x.shape[:2], _tiles(x)
    positions, matrix = pictures * rows * columns, _both_sides(_INPUT, x).t().contiguous()
    result = x.new_empty(pictures, channels, rows + 1, 4, columns + 1, 4)
    squares, flat = result.permute(3, 5, 1, 0, 2, 4), of_tiles.view(36, -1)
    for part in _parts(channels, positions):
        values = matrix @ flat[:, part.start * positions : part.stop * positions]
        tiles = values.view(6, 6, -1, pictures, rows, columns)
        # The last two rows and columns of a tile are the first two of the next one.
        high = tiles.new_zeros(4, 6, *tiles.shape[2:4], rows + 1, columns)
        high[..., :rows, :] = tiles[:4]
        high[:2, ..., 1:, :] += tiles[4:]
        wide = tiles.new_zeros(4, 4, *tiles.shape[2:4], rows + 1, columns + 1)
        wide[..., :columns] = high[:, :4]
        wide[:, :2, ..., 1:] += high[:, 4:]
        squares[:, :, part] = wide
    whole = result.view(pictures, channels, 4 * rows + 4, 4 * columns + 4)
    return whole[:, :, : x.shape[2], : x.shape[3]].contiguous()


class _Taps(torch.autograd.Function):
    """What is computed in bands of some rows of the input, whose products stay in a cache."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        (outputs, _, high, wide), width = weight.shape, x.shape[3]
        matrix = _taps_first(weight)
        made = x.new_zeros(len(x), outputs, x.shape[2] - high + 1, width - wide + 1)
        for picture, target in zip(x.flatten(2), made, strict=True):
            for first, last in _bands(x, len(matrix)):
                products = matrix @ picture[:, first * width : last * width]
                rows = last - first
                # Column c + l of the products of tap l adds to column c of the output.
                shifted = products.as_strided(
                    (outputs, high, wide, rows, target.shape[2]),
                    (high * wide * rows * width, wide * rows * width, rows * width + 1, width, 1),
                ).sum(dim=2)
                for row in range(high):  # and row r + k of tap k to row r, where there is one
                    low, top = max(first - row, 0), min(last - row, target.shape[1])
                    if low < top:
                        target[:, low:top] += shifted[:, row, low + row - first : top + row - first]
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        (outputs, inputs, high, wide), width = weight.shape, x.shape[3]
        matrix = _taps_first(weight.flip(2, 3))
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        of_matrix = torch.zeros_like(matrix) if ctx.needs_input_grad[1] else None
        around = functional.pad(gradient, (wide - 1, wide - 1, high - 1, high - 1))
        for index, picture in enumerate(x.flatten(2)):
            # For each position of the filter, the last one first, the output that it leads to.
            led = around[index].unfold(1, high, 1).unfold(2, wide, 1)
            for first, last in _bands(x, len(matrix)):
                band = led[:, first:last].permute(0, 3, 4, 1, 2).reshape(len(matrix), -1)
                place = slice(first * width, last * width)
                if of_x is not None:
                    torch.mm(matrix.t(), band, out=of_x[index].view(inputs, -1)[:, place])
                if of_matrix is not None:
                    of_matrix.addmm_(band, picture[:, place].t())
        of_weight = None
        if of_matrix is not None:
            whole = of_matrix.view(outputs, high, wide, inputs)
            of_weight = whole.permute(0, 3, 1, 2).flip(2, 3).contiguous()
        return of_x, of_weight


def _taps_first(weight: Tensor) -> Tensor:
    """Return filters (O, C, K, L) as (O * K * L, C)."""
    return weight.permute(0, 2, 3, 1).reshape(-1, weight.shape[1])


def _bands(x: Tensor, taps: int) -> list[tuple[int, int]]:
    """Return the first row of each band of the input, and the one after its last."""
    height, width = x.shape[2:]
    rows = max(1, 2**20 // (taps * width))
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]
