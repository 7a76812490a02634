"""Converters of operators that order, count or accumulate along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx

from edgeconv.compiler.compute.order import gather_along, places_of_first, ranks, running
from edgeconv.compiler.compute.reduce import product
from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _convert_top_k(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> list[relax.Expr]:
    """Rank every element by comparing all pairs, which vectorises; then pick the first ranks."""
    axis = node.attributes.get("axis", -1) % node.rank()
    count = node.shapes[node.outputs[0]][axis]
    largest = bool(node.attributes.get("largest", 1))
    rank = builder.emit(builder.call_te(ranks, arguments[0], axis, largest))
    places = builder.emit(builder.call_te(places_of_first, rank, axis, count))
    values = builder.emit(builder.call_te(gather_along, arguments[0], places, axis))
    return [values, relax.op.astype(places, "int64")]


def _convert_hardmax(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """1 at the first largest element, 0 elsewhere."""
    axis = node.attributes.get("axis", -1) % node.rank()
    rank = builder.emit(builder.call_te(ranks, arguments[0], axis, True))
    first = builder.emit(relax.op.equal(rank, relax.const(0, "int32")))
    return relax.op.astype(first, node.dtype())


def _refuse_axis_outside(node: Node) -> str | None:
    axis = node.constant(1)
    return "several axes" if axis is not None and axis.size != 1 else None


def _running_converter(reducer: Callable[..., Any]) -> Converter:
    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
        axis = node.constant(1)
        assert axis is not None
        options = {name: bool(node.attributes.get(name, 0)) for name in ("exclusive", "reverse")}
        return builder.call_te(
            lambda data: running(data, int(axis.item()) % node.rank(), reducer, **options),
            arguments[0],
            primfunc_name_hint="running",
        )

    return Converter(convert, _refuse_axis_outside, constants=(1,))


def _convert_trilu(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """The upper or lower triangle of each matrix, from diagonal k on; zeros elsewhere."""
    given = node.constant(1)
    diagonal = 0 if given is None else int(given.item())
    upper = bool(node.attributes.get("upper", 1))
    rows, columns = node.shape(0)[-2:]
    diagonal = max(-rows - 1, min(diagonal, columns + 1))

    def triangle(data: te.Tensor) -> te.Tensor:
        def element(*index: tirx.Var) -> Any:
            distance = index[-1] - index[-2]
            kept = distance >= diagonal if upper else distance <= diagonal
            return tirx.Select(kept, data(*index), tirx.const(0, data.dtype))

        return te.compute(data.shape, element, name="triangle")

    return builder.call_te(triangle, arguments[0], primfunc_name_hint="triangle")


CONVERTERS = {
    "CumProd": _running_converter(product),
    "CumSum": _running_converter(te.sum),
    "Hardmax": Converter(_convert_hardmax),
    "TopK": Converter(_convert_top_k, constants=(1,)),
    "Trilu": Converter(_convert_trilu, constants=(1,)),
}
