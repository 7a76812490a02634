"""Converters of matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _convert_gemm(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """alpha * A' * B' + beta * C, with the factors folded into constants where there are any."""
    data = arguments[0]
    if node.attributes.get("transA", 0):
        data = builder.emit(relax.op.permute_dims(data, [1, 0]))
    weight = node.constant(1)
    if weight is None:
        weight = arguments[1]
        if node.attributes.get("transB", 0):
            weight = builder.emit(relax.op.permute_dims(weight, [1, 0]))
    elif node.attributes.get("transB", 0):
        weight = weight.T
    # The factor goes to what is smaller than the product.
    product = relax.op.matmul(data, _times(builder, weight, node.attributes.get("alpha", 1.0)))
    if not node.has_input(2):
        return product
    constant = node.constant(2)
    bias = arguments[2] if constant is None else np.atleast_1d(constant)
    return relax.op.add(
        builder.emit(product), _times(builder, bias, node.attributes.get("beta", 1.0))
    )


def _times(builder: relax.BlockBuilder, operand: Any, factor: float) -> relax.Expr:
    """Return a constant array or an expression, times `factor`."""
    if isinstance(operand, np.ndarray):
        scaled = np.ascontiguousarray(operand * operand.dtype.type(factor))
        return relax.const(scaled, str(scaled.dtype))
    if factor == 1.0:
        return operand
    return builder.emit(relax.op.multiply(operand, relax.const(factor, operand.ty.dtype)))


def _convert_matmul(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """NumPy's matmul: a vector on the left is one row, one on the right is one column."""
    left, right = arguments[:2]
    if min(node.rank(0), node.rank(1)) > 1:
        return relax.op.matmul(left, right)
    if node.rank(0) == 1:
        left = builder.emit(relax.op.reshape(left, (1, *node.shape(0))))
    if node.rank(1) == 1:
        right = builder.emit(relax.op.reshape(right, (*node.shape(1), 1)))
    product = builder.emit(relax.op.matmul(left, right))
    return relax.op.reshape(product, node.shapes[node.outputs[0]])


CONVERTERS = {
    "Gemm": Converter(_convert_gemm),
    "MatMul": Converter(_convert_matmul),
}
