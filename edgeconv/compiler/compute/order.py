"""Ranking and running totals along one axis, as tensor expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import te, tirx


def _along(data: te.Tensor, index: Any, axis: int, place: Any) -> Any:
    return data(*index[:axis], place, *index[axis + 1 :])


def _comes_before(value: Any, place: Any, other: Any, other_place: Any, largest: bool) -> Any:
    """Whether `value` ranks before `other`: the lower place where they are equal, NaN as largest.

    A total order, so that every element has a rank of its own.
    """
    ahead = value > other if largest else value < other
    same = value == other
    if str(value.ty.dtype).startswith("float"):
        first, second = (tirx.isnan(value), tirx.isnan(other))
        winner, loser = (first, second) if largest else (second, first)
        ahead = tirx.Or(ahead, tirx.And(winner, tirx.Not(loser)))
        same = tirx.Or(same, tirx.And(first, second))
    return tirx.Or(ahead, tirx.And(same, place < other_place))


def ranks(data: te.Tensor, axis: int, largest: bool) -> te.Tensor:
    """Return, as int32 in the shape of `data`, how many elements along `axis` come before each."""
    k = te.reduce_axis((0, int(data.shape[axis])), name="k")

    def element(*index: tirx.Var) -> Any:
        before = _comes_before(_along(data, index, axis, k), k, data(*index), index[axis], largest)
        return te.sum(before.astype("int32"), axis=k)

    return te.compute(data.shape, element, name="ranks")


def places_of_first(rank: te.Tensor, axis: int, count: int) -> te.Tensor:
    """Return as int32 the places along `axis` of the elements with ranks 0 to `count` - 1."""
    k = te.reduce_axis((0, int(rank.shape[axis])), name="k")
    shape = [*rank.shape[:axis], count, *rank.shape[axis + 1 :]]

    def element(*index: tirx.Var) -> Any:
        here = _along(rank, index, axis, k) == index[axis].astype("int32")
        return te.sum(tirx.Select(here, k.var.astype("int32"), tirx.const(0, "int32")), axis=k)

    return te.compute(shape, element, name="places")


def gather_along(data: te.Tensor, places: te.Tensor, axis: int) -> te.Tensor:
    """Return the elements at `places` along `axis`."""
    return te.compute(
        places.shape,
        lambda *index: _along(data, index, axis, places(*index)),
        name="gather",
    )


def running(
    data: te.Tensor, axis: int, reducer: Callable[..., Any], *, exclusive: bool, reverse: bool
) -> te.Tensor:
    """Reduce, at each position, what stands before it along `axis` (after it if `reverse`).

    The position itself counts unless `exclusive`. `reducer` is one of sums or products.
    """
    k = te.reduce_axis((0, int(data.shape[axis])), name="k")
    neutral = tirx.const(0 if reducer is te.sum else 1, data.dtype)

    def element(*index: tirx.Var) -> Any:
        at = index[axis]
        if reverse:
            counts = k.var > at if exclusive else k.var >= at
        else:
            counts = k.var < at if exclusive else k.var <= at
        value = tirx.Select(counts, _along(data, index, axis, k), neutral)
        return reducer(value, axis=k)

    return te.compute(data.shape, element, name="running")
