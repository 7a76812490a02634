"""Converters of convolutions and matrix products of 8-bit integers, with exact 32-bit sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.requantise import requantise
from edgeconv.compiler.importer.converter import Arguments, Converter, computed
from edgeconv.compiler.importer.node import Node
from edgeconv.compiler.importer.windows import CONVOLUTIONS, refuse_conv, relax_geometry, window_of

Shape = tuple[int, ...]


class _Operands:
    """Inputs of a node in a wider type, computed at compile time where they are constants."""

    def __init__(self, builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> None:
        self._builder = builder
        self._node = node
        self._arguments = arguments

    def read(self, index: int, dtype: str, shape: Shape | None = None) -> Any:
        """Return input `index` as an array or an expression, in `shape` where it has several."""
        constant = self._node.constant(index)
        if constant is not None:
            wide = constant.astype(dtype)
            return wide if shape is None else wide.reshape(shape)
        wide = self._builder.emit(relax.op.astype(self._arguments[index], dtype))
        return wide if shape is None else self._builder.emit(relax.op.reshape(wide, shape))

    def combine(self, operation: str, left: Any, right: Any) -> Any:
        """Return `operation` ("subtract", "multiply", "divide") of two operands."""
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return getattr(np, operation)(left, right)
        operands = self.expression(left), self.expression(right)
        return self._builder.emit(getattr(relax.op, operation)(*operands))

    def shifted(self, index: int, zero_point: int, shape: Shape) -> relax.Expr:
        """Return int32 input `index` less its zero point, which takes `shape`."""
        value = self.read(index, "int32")
        if self._node.has_input(zero_point):
            zeros = self.read(zero_point, "int32", self.spread(zero_point, shape))
            value = self.combine("subtract", value, zeros)
        return self.expression(value)

    def spread(self, index: int, shape: Shape) -> Shape:
        """Return `shape` for one value per row, column or channel; ones for a single value.

        A parameter of several axes has the operand's own rank already.
        """
        given = self._node.shape(index)
        if len(given) > 1:
            return given
        return shape if np.prod(given) > 1 else (1,) * len(shape)

    def expression(self, value: Any) -> relax.Expr:
        """Return an array as a constant, an expression as it is."""
        if isinstance(value, np.ndarray):
            return relax.const(np.ascontiguousarray(value), str(value.dtype))
        return value


def _requantised(
    builder: relax.BlockBuilder,
    node: Node,
    operands: _Operands,
    total: relax.Expr,
    shapes: tuple[Shape, Shape],
) -> relax.Expr:
    """Return `total` in the output's scale; `shapes` are those of both operands' scales."""
    left = operands.read(1, "float32", operands.spread(1, shapes[0]))
    right = operands.read(4, "float32", operands.spread(4, shapes[1]))
    ones = (1,) * len(shapes[0])
    product = operands.combine("multiply", left, right)
    factor = operands.combine("divide", product, operands.read(6, "float32", ones))
    zero_point = operands.read(7, "int32", (1,))
    tensors = [builder.emit(total), operands.expression(factor), operands.expression(zero_point)]
    return computed(builder, requantise, tensors, node.dtypes[node.outputs[0]])


def _rows_columns(node: Node, right: int) -> tuple[Shape, Shape]:
    """Return how one value per row of A, and per column of B, broadcasts."""
    rank = max(node.rank(0), node.rank(right), 2)
    outer = (1,) * (rank - 2)
    return (*outer, -1, 1), (*outer, 1, -1)


def _refuse_vectors(node: Node) -> str | None:
    right = 1 if node.op == "MatMulInteger" else 3
    return "a vector as an operand" if min(node.rank(0), node.rank(right)) < 2 else None


def _convert_matmul_integer(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    operands = _Operands(builder, node, arguments)
    rows, columns = _rows_columns(node, 1)
    return relax.op.matmul(operands.shifted(0, 2, rows), operands.shifted(1, 3, columns))


def _convert_qlinear_matmul(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    operands = _Operands(builder, node, arguments)
    rows, columns = _rows_columns(node, 3)
    product = relax.op.matmul(operands.shifted(0, 2, rows), operands.shifted(3, 5, columns))
    return _requantised(builder, node, operands, product, (rows, columns))


def _convolution(node: Node, data: relax.Expr, weight: relax.Expr) -> relax.Expr:
    groups = node.attributes.get("group", 1)
    geometry = relax_geometry(window_of(node))
    return CONVOLUTIONS[node.rank() - 2](data, weight, groups=groups, **geometry)


def _convert_conv_integer(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    operands = _Operands(builder, node, arguments)
    ones = (1,) * (node.rank() - 1)
    data, weight = operands.shifted(0, 2, (1, *ones)), operands.shifted(1, 3, (-1, *ones))
    return _convolution(node, data, weight)


def _convert_qlinear_conv(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    operands = _Operands(builder, node, arguments)
    ones = (1,) * (node.rank() - 2)
    weight = operands.shifted(3, 5, (-1, 1, *ones))
    total = _convolution(node, operands.shifted(0, 2, (1, 1, *ones)), weight)
    if node.has_input(8):
        bias = operands.expression(operands.read(8, "int32", (1, -1, *ones)))
        total = relax.op.add(builder.emit(total), bias)
    return _requantised(builder, node, operands, total, ((1, 1, *ones), (1, -1, *ones)))


CONVERTERS = {
    "MatMulInteger": Converter(_convert_matmul_integer, _refuse_vectors),
    "QLinearMatMul": Converter(_convert_qlinear_matmul, _refuse_vectors),
    "ConvInteger": Converter(_convert_conv_integer, refuse_conv),
    "QLinearConv": Converter(_convert_qlinear_conv, refuse_conv),
}
