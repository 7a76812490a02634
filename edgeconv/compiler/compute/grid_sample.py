"""Sampling at the places of a grid, as tensor expressions, over any number of spatial axes.

A place lies among corners, one, two or four of them along each axis, which are summed with weights.
The plain expression finds them anew for every element. The one for blocks of channels has stages
for them, since they are the same for all channels of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import reduce
from itertools import product
from operator import mul
from typing import Any

from tvm import te, tirx

from edgeconv.compiler.compute.layout import as_image, flat_index

Place = Any
_ATTRIBUTE = "edgeconv.grid_sampling"


@dataclass(frozen=True)
class GridSampling:
    """How places of a grid are read.

    Attributes:
        mode: "nearest" (ties to even), "linear" or "cubic" (Keys, 1981, with a = -0.75).
        padding: what lies outside: "zeros", "border" (the end repeated), "reflection".
        align_corners: whether -1 and 1 are the centres of the first and last element rather
            than their outer edges.
    """

    mode: str
    padding: str
    align_corners: bool

    @property
    def taps(self) -> int:
        """Neighbours of a place along each axis."""
        return 1 if self.mode == "nearest" else len(_KERNELS[self.mode][0])

    def attributes(self) -> dict[str, Any]:
        """Return attributes of a TIR function, which `read` takes."""
        return {_ATTRIBUTE: list(astuple(self))}

    @staticmethod
    def read(function: tirx.PrimFunc) -> GridSampling | None:
        """Return the sampling of a function with `attributes`, None for any other."""
        if _ATTRIBUTE not in (function.attrs or {}):
            return None
        mode, padding, align_corners = function.attrs[_ATTRIBUTE]
        return GridSampling(str(mode), str(padding), bool(align_corners))


def grid_sample(data: te.Tensor, grid: te.Tensor, sampling: GridSampling) -> te.Tensor:
    """Interpolate at the places of `grid`, as PyTorch's grid_sample and ONNX's GridSample do.

    Args:
        data: (N, C, *spatial).
        grid: (N, *places, axes): for each axis, the last spatial one first, a coordinate that is
            -1 at the input's begin and 1 at its end.
        sampling: how.

    Returns:
        (N, C, *places), in the dtype of `data`.
    """
    size = [int(extent) for extent in data.shape[2:]]
    coordinates = _coordinates(grid, size, sampling)

    def element(n: tirx.Var, channel: tirx.Var, *at: tirx.Var) -> tirx.PrimExpr:
        total: tirx.PrimExpr = tirx.const(0, data.dtype)
        for position, weight in _corners([c(n, *at) for c in coordinates], sampling):
            total = total + weight.astype(data.dtype) * load(n, channel, position)
        return total

    def load(n: tirx.Var, channel: tirx.Var, at: Sequence[Place]) -> tirx.PrimExpr:
        if sampling.padding == "zeros":
            # Not a Select, which reads its operands wherever it is vectorised.
            zero = tirx.const(0, data.dtype)
            return tirx.if_then_else(_inside(at, size), data(n, channel, *at), zero)
        return data(n, channel, *_bounded(at, size, sampling))

    places = grid.shape[1:-1]
    return te.compute((data.shape[0], data.shape[1], *places), element, name="grid_sample")


def grid_sample_blocked(
    data: te.Tensor,
    grid: te.Tensor,
    sampling: GridSampling,
    size: Sequence[int],
    places: Sequence[int],
) -> te.Tensor:
    """Interpolate vectors of channels: `grid_sample` in blocks.

    Where the corners of a place are and how much they count is computed once for all channels, in
    the stages "corner", "factor" and, where zeros lie outside, "inside".

    Args:
        data: float32 (N, ceil(C/b), pixels of the input, b).
        grid: (N, pixels of the result, axes), as for `grid_sample`.
        sampling: how.
        size: the spatial shape of the input.
        places: the spatial shape of the result.

    Returns:
        (N, ceil(C/b), *places, b), float32.
    """
    batch, blocks, _, lanes = data.shape
    coordinates = _coordinates(grid, size, sampling)
    shape = (batch, grid.shape[1])

    def stage(name: str, number: int, of: Callable[[Sequence[Place], Place], Place]) -> te.Tensor:
        """Compute something of the corner of that number, from its position and its weight."""

        def element(n: tirx.Var, pixel: tirx.Var) -> Place:
            return of(*_corners([c(n, pixel) for c in coordinates], sampling)[number])

        return te.compute(shape, element, name=f"{name}{number}")

    def corner(position: Sequence[Place], _: Place) -> Place:
        return flat_index(_bounded(position, size, sampling), size)

    def factor(_: Sequence[Place], weight: Place) -> Place:
        return weight.astype(data.dtype)

    def inside(position: Sequence[Place], _: Place) -> Place:
        ones, zeros = (tirx.const(bits, "int32") for bits in (-1, 0))
        return tirx.Select(_inside(position, size), ones, zeros)

    numbers = range(sampling.taps ** len(size))
    corners = [stage("corner", number, corner) for number in numbers]
    factors = [stage("factor", number, factor) for number in numbers if sampling.taps > 1]
    masks = [stage("inside", number, inside) for number in numbers if sampling.padding == "zeros"]

    def element(n: tirx.Var, block: tirx.Var, pixel: tirx.Var, lane: tirx.Var) -> tirx.PrimExpr:
        total: tirx.PrimExpr = tirx.const(0, data.dtype)
        for number in numbers:
            value = data(n, block, corners[number](n, pixel), lane)
            if masks:
                # Bit by bit: zero times what stands there is not zero where that is infinite.
                bits = tirx.reinterpret("int32", value) & masks[number](n, pixel)
                value = tirx.reinterpret(data.dtype, bits)
            total = total + (factors[number](n, pixel) * value if factors else value)
        return total

    shape_of_rows = (batch, blocks, grid.shape[1], lanes)
    return as_image(te.compute(shape_of_rows, element, name="grid_sample_blocked"), places)


def _coordinates(grid: te.Tensor, size: Sequence[int], sampling: GridSampling) -> list[te.Tensor]:
    """Return, for each spatial axis, where its coordinates in a grid lie, in elements."""
    dtype = str(grid.dtype)

    def coordinate(axis: int) -> te.Tensor:
        extent = size[axis]

        def element(*index: tirx.Var) -> Place:
            given = grid(*index, len(size) - 1 - axis)
            if sampling.align_corners:
                place = (given + 1.0) * ((extent - 1) / 2)
            else:
                place = ((given + 1.0) * float(extent) - 1.0) * 0.5
            if sampling.mode == "nearest":
                place = tirx.nearbyint(place)
            if not (sampling.mode == "cubic" and sampling.padding == "border"):
                # There, neighbours move one by one, and some may lie inside.
                place = _moved(place, extent, sampling)
            # So far outside everything is zero. The bound also stops what is not a number.
            far = tirx.const(float(extent + 4), dtype)
            return tirx.max(tirx.min(place, far), tirx.const(-4.0, dtype))

        return te.compute(grid.shape[:-1], element, name=f"coordinate{axis}")

    return [coordinate(axis) for axis in range(len(size))]


def _corners(
    places: Sequence[Place], sampling: GridSampling
) -> list[tuple[tuple[Place, ...], Place]]:
    """Return the positions of all neighbours of a place, the last axis fastest, and their weights.

    Positions may lie outside.
    """

    def taps(place: Place) -> list[tuple[Place, Place]]:
        base = tirx.floor(place)
        if sampling.mode == "nearest":
            return [(base.astype("int32"), tirx.const(1.0, place.ty.dtype))]
        offsets, weigh = _KERNELS[sampling.mode]
        weights = weigh(place - base)
        return [(base.astype("int32") + o, w) for o, w in zip(offsets, weights, strict=True)]

    corners = [zip(*corner, strict=True) for corner in product(*(taps(place) for place in places))]
    return [(position, reduce(mul, weights)) for position, weights in corners]


def _inside(position: Sequence[Place], size: Sequence[int]) -> Place:
    """Whether a position lies in the input."""
    pairs = zip(position, size, strict=True)
    return tirx.all(*(c for p, extent in pairs for c in (p >= 0, p < extent)))


def _bounded(position: Sequence[Place], size: Sequence[int], sampling: GridSampling) -> list[Place]:
    """Return a position moved into the input, to where the padding has its value."""
    pairs = zip(position, size, strict=True)
    return [_inside_index(p, extent, sampling) for p, extent in pairs]


def _linear(fraction: Place) -> list[Place]:
    return [1.0 - fraction, fraction]


def _cubic(fraction: Place) -> list[Place]:
    a = -0.75

    def near(x: Place) -> Place:
        return ((a + 2) * x - (a + 3)) * x * x + 1.0

    def far(x: Place) -> Place:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(fraction + 1.0), near(fraction), near(1.0 - fraction), far(2.0 - fraction)]


_KERNELS: dict[str, tuple[range, Callable[[Place], list[Place]]]] = {
    "linear": (range(2), _linear),
    "cubic": (range(-1, 3), _cubic),
}


def _moved(place: Place, extent: int, sampling: GridSampling) -> Place:
    """Return a coordinate that lies outside moved to where the padding has its value."""
    if sampling.padding == "reflection":
        return _reflected(place, extent, sampling.align_corners)
    if sampling.padding == "zeros":
        return place
    last, margin = float(extent - 1), 0.0 if sampling.align_corners else 0.5
    outside = tirx.any(place < -margin, place > last + margin)
    return tirx.Select(outside, tirx.max(tirx.min(place, last), 0.0), place)


def _reflected(place: Place, extent: int, align_corners: bool) -> Place:
    """Return a coordinate mirrored at the ends until it is between them."""
    low = 0.0 if align_corners else -0.5
    width = float(extent - 1 if align_corners else extent)
    if width == 0:
        return place * 0.0
    distance = tirx.abs(place - low)
    turns = tirx.floor(distance / width)
    rest = distance - turns * width
    odd = turns - 2.0 * tirx.floor(turns * 0.5) > 0.5
    return tirx.Select(odd, low + width - rest, low + rest)


def _inside_index(index: Place, extent: int, sampling: GridSampling) -> Place:
    """Return a neighbour's position moved into the input."""
    if sampling.padding == "reflection":
        # Mirrors stand between elements, or on the last one.
        period = 2 * (extent - 1) if sampling.align_corners else 2 * extent
        if period == 0:
            return tirx.const(0, "int32")
        turned = tirx.floormod(index, period)
        mirrored = period - turned if sampling.align_corners else period - 1 - turned
        index = tirx.min(turned, mirrored)
    return tirx.max(tirx.min(index, extent - 1), 0)
