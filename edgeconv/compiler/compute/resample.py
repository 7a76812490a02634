"""Resampling along one axis, from a table of source positions and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

# Beyond as many taps, which antialiasing can have, a loop sums them.
MAX_SPELLED_OUT = 4
# Attribute of functions that resample, by which layout passes know their axis.
RESAMPLED_AXIS = "edgeconv.resampled_axis"


def resample_axis(
    data: te.Tensor, positions: te.Tensor, weights: te.Tensor, axis: int
) -> te.Tensor:
    """Weighted sums of positions along `axis`.

    Args:
        data: any shape.
        positions: int32 (outputs, taps), positions along `axis`.
        weights: (outputs, taps), in the dtype of `data`.
        axis: which axis; its extent becomes `outputs`.
    """
    outputs, taps = (int(size) for size in positions.shape)
    shape = [*data.shape[:axis], outputs, *data.shape[axis + 1 :]]

    def term(index: tuple[tirx.Var, ...], tap: Any) -> tirx.PrimExpr:
        at = positions(index[axis], tap)
        return data(*index[:axis], at, *index[axis + 1 :]) * weights(index[axis], tap)

    def spelled_out(*index: tirx.Var) -> tirx.PrimExpr:
        total = term(index, 0)
        for tap in range(1, taps):
            total = total + term(index, tap)
        return total

    def summed(*index: tirx.Var) -> tirx.PrimExpr:
        tap = te.reduce_axis((0, taps), name="tap")
        return te.sum(term(index, tap), axis=tap)

    if taps > MAX_SPELLED_OUT:
        return te.compute(shape, summed, name="resample")
    return te.compute(shape, spelled_out, name="resample")


def resample_axes(data: te.Tensor, *tables: te.Tensor, axes: Sequence[int]) -> te.Tensor:
    """Resample along several axes in one go.

    Args:
        data: any shape.
        tables: for each axis positions and weights as for `resample_axis`, of few taps, or
            positions alone, (outputs,), as for `take_axis`.
        axes: which axes, in the order in which they are resampled.
    """
    left = list(tables)
    for axis in axes:
        positions = left.pop(0)
        if len(positions.shape) == 1:
            data = take_axis(data, positions, axis)
        else:
            data = resample_axis(data, positions, left.pop(0), axis)
    return data


def blank_outside(*arguments: Any) -> te.Tensor:
    """Put a value where a position on any of some axes lies outside.

    Args:
        arguments: data of any shape; for each of the axes, a mask (its extent,) of what lies
            outside; then the list of axes and the value.
    """
    data, *masks, axes, value = arguments
    blank = tirx.const(value, data.dtype)

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        outside = tirx.any(*(mask(index[axis]) for mask, axis in zip(masks, axes, strict=True)))
        return tirx.if_then_else(outside, blank, data(*index))

    return te.compute(data.shape, element, name="blank_outside")


def take_axis(data: te.Tensor, positions: te.Tensor, axis: int) -> te.Tensor:
    """Positions along `axis`, unweighted; `positions` is int32 (outputs,)."""
    shape = [*data.shape[:axis], positions.shape[0], *data.shape[axis + 1 :]]
    return te.compute(
        shape,
        lambda *i: data(*i[:axis], positions(i[axis]), *i[axis + 1 :]),
        name="take_axis",
    )
