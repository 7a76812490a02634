"""Converters of operators that read or write at given places."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.indexing import (
    gather,
    gather_elements,
    gather_nd,
    one_hot,
    reverse_sequence,
    strided_slice,
)
from edgeconv.compiler.compute.resample import take_axis
from edgeconv.compiler.compute.scatter import (
    REDUCTIONS,
    element_offsets,
    scatter,
    slice_offsets,
)
from edgeconv.compiler.importer.converter import Arguments, Converter, computed
from edgeconv.compiler.importer.node import Node


def _axis(node: Node, default: int = 0) -> int:
    return int(node.attributes.get("axis", default)) % node.rank()


def _convert_gather(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    axis = _axis(node)
    constant = node.constant(1)
    if constant is None:
        return builder.call_te(gather, arguments[0], arguments[1], axis)
    positions = (np.asarray(constant, np.int64) % node.shape(0)[axis]).reshape(-1)
    table = relax.const(positions.astype(np.int32), "int32")
    taken = builder.emit(builder.call_te(take_axis, arguments[0], table, axis))
    return relax.op.reshape(taken, node.shapes[node.outputs[0]])


def _refuse_gather(node: Node) -> str | None:
    indices, size = node.constant(1), node.shape(0)[_axis(node)]
    if indices is not None and ((indices < -size) | (indices >= size)).any():
        return f"an index lies outside of an axis of {size}"
    return None


def _convert_gather_elements(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    return builder.call_te(gather_elements, arguments[0], arguments[1], _axis(node))


def _convert_gather_nd(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    batch_dims = node.attributes.get("batch_dims", 0)
    return computed(builder, gather_nd, arguments[:2], batch_dims)


def _convert_slice(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """Python's slices of every axis; opset 9 and before has them as attributes."""
    size = node.shape(0)
    starts, ends = _setting(node, 1, "starts"), _setting(node, 2, "ends")
    axes = _setting(node, 3, "axes") or list(range(len(starts)))
    steps = _setting(node, 4, "steps") or [1] * len(starts)
    ranges = [range(extent) for extent in size]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -size[axis] else end
        ranges[axis % len(size)] = range(size[axis])[start:stop:step]
    cut = [axis for axis, taken in enumerate(ranges) if len(taken) != size[axis]]
    if cut and all(r and r.step == 1 for r in ranges):
        begins, ends = [ranges[axis].start for axis in cut], [ranges[axis].stop for axis in cut]
        return relax.op.strided_slice(arguments[0], cut, begins, ends)
    begins, strides = [r.start for r in ranges], [r.step for r in ranges]
    return builder.call_te(strided_slice, arguments[0], begins, strides, [len(r) for r in ranges])


def _setting(node: Node, index: int, attribute: str) -> list[int]:
    value = node.constant(index) if node.has_input(index) else node.attributes.get(attribute)
    return [] if value is None else [int(v) for v in np.asarray(value).reshape(-1)]


def _refuse_empty(node: Node) -> str | None:
    """Refuse results without elements."""
    return "the output is empty" if 0 in node.shapes[node.outputs[0]] else None


def _convert_one_hot(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    axis = int(node.attributes.get("axis", -1)) % (node.rank() + 1)
    depth = int(np.asarray(node.constant(1)).reshape(()))
    return builder.call_te(one_hot, arguments[0], arguments[2], depth, axis)


def _convert_reverse_sequence(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    axes = node.attributes.get("batch_axis", 1), node.attributes.get("time_axis", 0)
    return builder.call_te(reverse_sequence, arguments[0], arguments[1], *axes)


def _refuse_scatter(node: Node) -> str | None:
    reduction = _reduction(node)
    return None if reduction in REDUCTIONS else f"reduction {reduction!r} is not supported"


def _reduction(node: Node) -> str:
    value = node.attributes.get("reduction", b"none")
    return value.decode() if isinstance(value, bytes) else str(value)


def _convert_scatter_elements(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    offsets = builder.call_te(element_offsets, arguments[1], list(node.shape(0)), _axis(node))
    return scatter_flat(builder, arguments[0], offsets, arguments[2], _reduction(node))


def _convert_scatter_nd(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    offsets = builder.call_te(slice_offsets, arguments[1], list(node.shape(0)))
    return scatter_flat(builder, arguments[0], offsets, arguments[2], _reduction(node))


def scatter_flat(
    builder: relax.BlockBuilder,
    data: Any,
    offsets: relax.Expr,
    updates: Any,
    reduction: str,
) -> relax.Expr:
    """Return `data` with `updates` at flat `offsets`, one for each slice of them."""
    places = builder.emit(offsets)
    shape = [int(size) for size in data.ty.shape]
    count = prod(int(size) for size in places.ty.shape)
    length = prod(int(size) for size in updates.ty.shape) // count
    call = builder.call_te(
        scatter,
        builder.emit(relax.op.reshape(data, (prod(shape),))),
        builder.emit(relax.op.reshape(places, (count,))),
        builder.emit(relax.op.reshape(updates, (count, length))),
        reduction,
    )
    return relax.op.reshape(builder.emit(call), shape)


CONVERTERS = {
    "Gather": Converter(_convert_gather, _refuse_gather),
    "GatherElements": Converter(_convert_gather_elements),
    "GatherND": Converter(_convert_gather_nd),
    "Slice": Converter(_convert_slice, _refuse_empty, constants=(1, 2, 3, 4)),
    "OneHot": Converter(_convert_one_hot, constants=(1,)),
    "ReverseSequence": Converter(_convert_reverse_sequence),
    "ScatterElements": Converter(_convert_scatter_elements, _refuse_scatter),
    "ScatterND": Converter(_convert_scatter_nd, _refuse_scatter),
}
