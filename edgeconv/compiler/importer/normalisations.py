"""Converters of normalisations."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import helper
from tvm import relax

from edgeconv.compiler.compute.normalise import across_channels, standardise, standardised
from edgeconv.compiler.graph import constant
from edgeconv.compiler.importer.converter import Arguments, Converter, computed, dtype_of
from edgeconv.compiler.importer.node import Node


def _epsilon(node: Node) -> float:
    """Return epsilon, which ONNX holds in single precision."""
    return float(np.float32(node.attributes.get("epsilon", 1e-5)))


def _refuse_batch_norm(node: Node) -> str | None:
    if node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        return "training mode"
    return None


def _convert_batch_norm(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """Scale and shift; constants are combined in double precision."""
    shape = (1, -1, *(1,) * (node.rank() - 2))
    epsilon = _epsilon(node)
    constants = [node.constant(index) for index in range(1, 5)]
    if any(value is None for value in constants):
        scale, shift, mean, variance = (
            builder.emit(relax.op.reshape(argument, (1, node.shape(1)[0], *shape[2:])))
            for argument in arguments[1:5]
        )
        small = relax.const(epsilon, dtype_of(arguments[4]))
        inverse = builder.emit(relax.op.rsqrt(builder.emit(relax.op.add(variance, small))))
        factor = builder.emit(relax.op.multiply(scale, inverse))
        centred = builder.emit(relax.op.subtract(arguments[0], mean))
        return relax.op.add(builder.emit(relax.op.multiply(centred, factor)), shift)
    scale, shift, mean, variance = (np.asarray(c, np.float64) for c in constants)
    factor = scale / np.sqrt(variance + epsilon)
    offset = shift - mean * factor
    dtype = dtype_of(arguments[0])
    scaled = relax.op.multiply(arguments[0], constant(factor.reshape(shape).astype(dtype)))
    return relax.op.add(builder.emit(scaled), constant(offset.reshape(shape).astype(dtype)))


def _rows(
    builder: relax.BlockBuilder, data: relax.Expr, count: int, shape: tuple[int, ...]
) -> relax.Expr:
    """Return `data` as (count, elements)."""
    return builder.emit(relax.op.reshape(data, (count, prod(shape) // count)))


def _cast(builder: relax.BlockBuilder, value: relax.Expr, dtype: str) -> relax.Expr:
    return value if dtype_of(value) == dtype else builder.emit(relax.op.astype(value, dtype))


def _scaled(
    builder: relax.BlockBuilder,
    data: relax.Expr,
    scale: relax.Expr | None,
    shift: relax.Expr | None,
    shape: tuple[int, ...] | None = None,
) -> relax.Expr:
    """Return data * scale + shift, which take `shape` where it is given."""
    result = data
    for operand, operation in ((scale, relax.op.multiply), (shift, relax.op.add)):
        if operand is None:
            continue
        fitting = operand if shape is None else builder.emit(relax.op.reshape(operand, shape))
        result = builder.emit(operation(result, fitting))
    return result


def _scaled_rows(
    builder: relax.BlockBuilder, node: Node, rows: relax.Expr, axis: int, operands: Arguments
) -> relax.Expr:
    """Return rows * scale + shift in the node's shape; rows are scaled where no axis broadcasts."""
    size = node.shape(0)
    elements = prod(size[axis:])
    scale, shift = (*operands, None)[:2]
    if all(prod(node.shape(1 + i)) == elements for i in range(len(operands))):
        return relax.op.reshape(_scaled(builder, rows, scale, shift, (1, elements)), size)
    return _scaled(builder, builder.emit(relax.op.reshape(rows, size)), scale, shift)


def _convert_layer_norm(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> list[relax.Expr]:
    """LayerNormalization: rows over every axis from `axis` on; also their mean and deviation."""
    size = node.shape(0)
    axis = node.attributes.get("axis", -1) % len(size)
    rows = _rows(builder, arguments[0], prod(size[:axis]), size)
    epsilon = _epsilon(node)
    statistics: list[relax.Expr] = []
    if any(node.outputs[1:]):
        parts = builder.emit(computed(builder, standardise, [rows], epsilon, True))
        normal, *statistics = (builder.emit(relax.TupleGetItem(parts, i)) for i in range(3))
    else:
        normal = builder.emit(computed(builder, standardised, [rows], epsilon, True))
    operands = arguments[1:3] if node.has_input(2) else arguments[1:2]
    reduced = (*size[:axis], *(1,) * (len(size) - axis))
    results = [_scaled_rows(builder, node, normal, axis, operands)]
    for value, name in zip(statistics, node.outputs[1:], strict=False):
        view = builder.emit(relax.op.reshape(value, reduced))
        results.append(_cast(builder, view, node.dtypes[name]) if name else view)
    return results


def _convert_rms_norm(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    size = node.shape(0)
    axis = node.attributes.get("axis", -1) % len(size)
    rows = _rows(builder, arguments[0], prod(size[:axis]), size)
    epsilon = _epsilon(node)
    normal = builder.emit(computed(builder, standardised, [rows], epsilon, False))
    return _scaled_rows(builder, node, normal, axis, arguments[1:2])


def _convert_group_norm(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """GroupNormalization, and InstanceNormalization, where every channel is a group."""
    size = node.shape(0)
    groups = node.attributes.get("num_groups", size[1])
    dtype = dtype_of(arguments[0])
    rows = _rows(builder, arguments[0], size[0] * groups, size)
    # Since opset 21 GroupNormalization says in which type it calculates, whatever the data's.
    if stash := node.attributes.get("stash_type"):
        rows = _cast(builder, rows, helper.tensor_dtype_to_np_dtype(stash).name)
    epsilon = _epsilon(node)
    normal = builder.emit(computed(builder, standardised, [rows], epsilon, True))
    view: tuple[int, ...] = size
    operand: tuple[int, ...] = (1, size[1], *(1,) * (len(size) - 2))
    if node.shape(1)[0] != size[1]:
        # Before opset 21 the channels of a group share their scale and shift.
        view, operand = (size[0], groups, prod(size[1:]) // groups), (1, groups, 1)
    if size[0] == 1 and groups == size[1]:
        # Every row is a channel, and can be scaled as it is.
        shaped, operand = normal, (groups, 1)
    else:
        shaped = builder.emit(relax.op.reshape(normal, view))
    shaped = _cast(builder, shaped, dtype)
    return relax.op.reshape(_scaled(builder, shaped, arguments[1], arguments[2], operand), size)


def _convert_lp_norm(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """LpNormalization; a slice of zeros stays zero."""
    data, axis = arguments[0], node.attributes.get("axis", -1)
    dtype = dtype_of(data)
    if node.attributes.get("p", 2) == 1:
        norm = builder.emit(relax.op.sum(builder.emit(relax.op.abs(data)), axis, keepdims=True))
    else:
        squares = builder.emit(relax.op.multiply(data, data))
        norm = builder.emit(relax.op.sum(squares, axis, keepdims=True))
        norm = builder.emit(relax.op.sqrt(norm))
    zero, one = relax.const(0.0, dtype), relax.const(1.0, dtype)
    divisor = relax.op.where(builder.emit(relax.op.equal(norm, zero)), one, norm)
    return relax.op.divide(data, builder.emit(divisor))


def _convert_lrn(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    defaults = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    options = tuple(node.attributes.get(name, value) for name, value in defaults)
    return computed(builder, across_channels, arguments[:1], node.attributes["size"], options)


CONVERTERS = {
    "BatchNormalization": Converter(_convert_batch_norm, _refuse_batch_norm),
    "LayerNormalization": Converter(_convert_layer_norm),
    "RMSNormalization": Converter(_convert_rms_norm),
    "GroupNormalization": Converter(_convert_group_norm),
    "InstanceNormalization": Converter(_convert_group_norm),
    "LpNormalization": Converter(_convert_lp_norm),
    "LRN": Converter(_convert_lrn),
}
