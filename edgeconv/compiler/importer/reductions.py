"""Converters of reductions over axes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from edgeconv.compiler.compute.reduce import (
    greatest,
    least,
    map_elements,
    product,
    reduce_axes,
)
from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node

Compute = Callable[[te.Tensor, list[int], int], te.Tensor]


def _axes(node: Node) -> list[int] | None:
    """Return the reduced axes in order; None where nothing is reduced."""
    given = node.constant(1)
    if given is None or not given.size:
        if node.attributes.get("noop_with_empty_axes", 0):
            return None
        return list(range(node.rank()))
    return sorted({int(axis) % node.rank() for axis in np.asarray(given).reshape(-1)})


def _sum(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return reduce_axes(data, axes, te.sum)


def _mean(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    total = _sum(data, axes, count)
    if str(total.dtype).startswith("float"):
        return map_elements(total, lambda value: value * tirx.const(1.0 / count, total.dtype))
    return map_elements(total, lambda value: tirx.truncdiv(value, tirx.const(count, total.dtype)))


def _max(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return reduce_axes(data, axes, greatest)


def _min(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return reduce_axes(data, axes, least)


def _prod(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return reduce_axes(data, axes, product)


def _l1(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return reduce_axes(data, axes, te.sum, tirx.abs)


def _sum_square(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return reduce_axes(data, axes, te.sum, lambda value: value * value)


def _l2(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return _in_floats(_sum_square(data, axes, count), tirx.sqrt)


def _log_sum(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    return _in_floats(_sum(data, axes, count), tirx.log)


def _log_sum_exp(data: te.Tensor, axes: list[int], count: int) -> te.Tensor:
    """log(sum(exp(x - max))) + max, so that exp does not overflow."""
    dtype = str(data.dtype) if str(data.dtype).startswith("float") else "float64"
    top = reduce_axes(data, axes, greatest, lambda value: value.astype(dtype))
    # Where all is infinite, inf - inf is NaN.
    zero = tirx.const(0, dtype)
    shift = map_elements(top, lambda value: tirx.Select(tirx.isinf(value), zero, value), "shift")
    places = dict.fromkeys(axes, 0)
    shifted = te.compute(
        data.shape,
        lambda *i: tirx.exp(
            data(*i).astype(dtype) - shift(*(places.get(axis, v) for axis, v in enumerate(i)))
        ),
        name="shifted",
    )
    total = reduce_axes(shifted, axes, te.sum)
    return te.compute(total.shape, lambda *i: tirx.log(total(*i)) + shift(*i), name="log_sum_exp")


def _in_floats(data: te.Tensor, function: Callable[[Any], Any]) -> te.Tensor:
    dtype = data.dtype if str(data.dtype).startswith("float") else "float64"
    return map_elements(data, lambda value: function(value.astype(dtype)), function.__name__)


def _converter(name: str, compute: Compute) -> Converter:
    def kernel(data: te.Tensor, axes: list[int]) -> te.Tensor:
        count = prod(int(data.shape[axis]) for axis in axes)
        result = compute(data, axes, count)
        if result.dtype == data.dtype:
            return result
        return map_elements(result, lambda value: value.astype(data.dtype), "narrow")

    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
        axes = _axes(node)
        if axes is None:
            return arguments[0]
        if compute is _mean and axes and node.dtype() in ("float32", "float64"):
            # Kept as an operator: over whole images it has a kernel of its own.
            return relax.op.mean(arguments[0], axes, bool(node.attributes.get("keepdims", 1)))
        reduced = builder.emit(builder.call_te(kernel, arguments[0], axes, primfunc_name_hint=name))
        return relax.op.reshape(reduced, node.shapes[node.outputs[0]])

    return Converter(convert, constants=(1,))


CONVERTERS = {
    "ReduceL1": _converter("reduce_l1", _l1),
    "ReduceL2": _converter("reduce_l2", _l2),
    "ReduceLogSum": _converter("reduce_log_sum", _log_sum),
    "ReduceLogSumExp": _converter("reduce_log_sum_exp", _log_sum_exp),
    "ReduceMax": _converter("reduce_max", _max),
    "ReduceMean": _converter("reduce_mean", _mean),
    "ReduceMin": _converter("reduce_min", _min),
    "ReduceProd": _converter("reduce_prod", _prod),
    "ReduceSum": _converter("reduce_sum", _sum),
    "ReduceSumSquare": _converter("reduce_sum_square", _sum_square),
}
