"""Reductions over any axes, as tensor expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

Element = Callable[[Any], Any]


def limits(dtype: str) -> tuple[Any, Any]:
    """Return the least and the greatest value of a type, with infinities."""
    if dtype.startswith("float"):
        return tirx.const(float("-inf"), dtype), tirx.const(float("inf"), dtype)
    if dtype == "bool":
        return tirx.const(False, "bool"), tirx.const(True, "bool")
    return tirx.min_value(dtype), tirx.max_value(dtype)


# TVM's own reducers begin at the least finite number, which is wrong where all is infinite.
greatest = te.comm_reducer(
    lambda a, b: tirx.Or(a, b) if a.ty.dtype == "bool" else te.max(a, b),
    lambda dtype: limits(dtype)[0],
    name="greatest",
)
least = te.comm_reducer(
    lambda a, b: tirx.And(a, b) if a.ty.dtype == "bool" else te.min(a, b),
    lambda dtype: limits(dtype)[1],
    name="least",
)
product = te.comm_reducer(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype), name="product")


def reduce_axes(
    data: te.Tensor,
    axes: Sequence[int],
    reducer: Callable[..., Any],
    element: Element = lambda value: value,
) -> te.Tensor:
    """Reduce `element(value)` over `axes`, which keep extent 1."""
    variables = {axis: te.reduce_axis((0, int(data.shape[axis])), name=f"r{axis}") for axis in axes}
    shape = [1 if axis in variables else size for axis, size in enumerate(data.shape)]

    def value(*index: tirx.Var) -> Any:
        place = [variables.get(axis, i) for axis, i in enumerate(index)]
        return reducer(element(data(*place)), axis=list(variables.values()))

    return te.compute(shape, value, name="reduce")


def map_elements(data: te.Tensor, element: Element, name: str = "map") -> te.Tensor:
    """Apply `element` to every value."""
    return te.compute(data.shape, lambda *i: element(data(*i)), name=name)
