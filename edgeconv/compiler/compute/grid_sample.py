"""Sampling at the places of a grid, as a tensor expression, over any number of spatial axes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from tvm import te, tirx

Place = Any


def grid_sample(
    data: te.Tensor, grid: te.Tensor, mode: str, padding: str, align_corners: bool
) -> te.Tensor:
    """Interpolate at the places of `grid`, as PyTorch's grid_sample and ONNX's GridSample do.

    Args:
        data: (N, C, *spatial).
        grid: (N, *places, axes): for each axis, the last spatial one first, a coordinate that is
            -1 at the input's begin and 1 at its end.
        mode: "nearest" (ties to even), "linear" or "cubic" (Keys, 1981, with a = -0.75).
        padding: what lies outside: "zeros", "border" (the end repeated), "reflection".
        align_corners: whether -1 and 1 are the centres of the first and last element rather
            than their outer edges.

    Returns:
        (N, C, *places), in the dtype of `data`.
    """
    size = [int(extent) for extent in data.shape[2:]]
    rank = len(size)
    places = list(grid.shape[1:-1])
    dtype = str(grid.dtype)

    def coordinate(axis: int) -> te.Tensor:
        extent = size[axis]

        def element(*index: tirx.Var) -> Place:
            given = grid(*index, rank - 1 - axis)
            if align_corners:
                place = (given + 1.0) * ((extent - 1) / 2)
            else:
                place = ((given + 1.0) * float(extent) - 1.0) * 0.5
            if mode == "nearest":
                place = tirx.nearbyint(place)
            if not (mode == "cubic" and padding == "border"):
                # There, neighbours move one by one, and some may lie inside.
                place = _moved(place, extent, padding, align_corners)
            # So far outside everything is zero. The bound also stops what is not a number.
            far = tirx.const(float(extent + 4), dtype)
            return tirx.max(tirx.min(place, far), tirx.const(-4.0, dtype))

        return te.compute((grid.shape[0], *places), element, name=f"coordinate{axis}")

    coordinates = [coordinate(axis) for axis in range(rank)]

    def taps(place: Place) -> list[tuple[Place, Place]]:
        """Return the neighbours along one axis and their weights."""
        base = tirx.floor(place)
        if mode == "nearest":
            return [(base.astype("int32"), tirx.const(1.0, dtype))]
        offsets, weigh = _KERNELS[mode]
        weights = weigh(place - base)
        return [(base.astype("int32") + o, w) for o, w in zip(offsets, weights, strict=True)]

    def element(n: tirx.Var, channel: tirx.Var, *at: tirx.Var) -> tirx.PrimExpr:
        neighbours = [taps(coordinate(n, *at)) for coordinate in coordinates]
        total: tirx.PrimExpr = tirx.const(0, data.dtype)
        for corner in product(*neighbours):
            weight = corner[0][1]
            for _, factor in corner[1:]:
                weight = weight * factor
            total = total + weight.astype(data.dtype) * load(n, channel, [p for p, _ in corner])
        return total

    def load(n: tirx.Var, channel: tirx.Var, at: list[Place]) -> tirx.PrimExpr:
        if padding == "zeros":
            inside = [c for p, extent in zip(at, size, strict=True) for c in (p >= 0, p < extent)]
            zero = tirx.const(0, data.dtype)
            # Not a Select, which reads its operands wherever it is vectorised.
            return tirx.if_then_else(tirx.all(*inside), data(n, channel, *at), zero)
        bounded = [
            _inside_index(p, extent, padding, align_corners)
            for p, extent in zip(at, size, strict=True)
        ]
        return data(n, channel, *bounded)

    return te.compute((data.shape[0], data.shape[1], *places), element, name="grid_sample")


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


def _moved(place: Place, extent: int, padding: str, align_corners: bool) -> Place:
    """Return a coordinate that lies outside moved to where the padding has its value."""
    if padding == "reflection":
        return _reflected(place, extent, align_corners)
    if padding == "zeros":
        return place
    last, margin = float(extent - 1), 0.0 if align_corners else 0.5
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


def _inside_index(index: Place, extent: int, padding: str, align_corners: bool) -> Place:
    """Return a neighbour's position moved into the input."""
    if padding == "reflection":
        # Mirrors stand between elements, or on the last one.
        period = 2 * (extent - 1) if align_corners else 2 * extent
        if period == 0:
            return tirx.const(0, "int32")
        turned = tirx.floormod(index, period)
        mirrored = period - turned if align_corners else period - 1 - turned
        index = tirx.min(turned, mirrored)
    return tirx.max(tirx.min(index, extent - 1), 0)
