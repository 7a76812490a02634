"""Converters of matrix products and normalisation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _constant(array: npt.NDArray[np.float32]) -> relax.Expr:
    return relax.const(np.ascontiguousarray(array), str(array.dtype))


def _convert_gemm(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """alpha * A' * B' + beta * C, with the constants folded into B and C."""
    data = arguments[0]
    if node.attributes.get("transA", 0):
        data = builder.emit(relax.op.permute_dims(data, [1, 0]))
    weight = np.asarray(node.constant(1))
    if node.attributes.get("transB", 0):
        weight = weight.T
    weight = weight * weight.dtype.type(node.attributes.get("alpha", 1.0))
    product = relax.op.matmul(data, _constant(weight))
    bias = node.constant(2)
    if bias is None:
        return product
    bias = bias * bias.dtype.type(node.attributes.get("beta", 1.0))
    return relax.op.add(builder.emit(product), _constant(np.atleast_1d(bias)))


def _refuse_matmul(node: Node) -> str | None:
    if min(node.rank(0), node.rank(1)) < 2:
        return "a vector as an operand is not supported"
    return None


def _convert_matmul(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    return relax.op.matmul(arguments[0], arguments[1])


def _refuse_batch_norm(node: Node) -> str | None:
    return "training mode" if node.attributes.get("training_mode", 0) else None


def _convert_batch_norm(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """Scale and shift, in double precision until the end."""
    scale, shift, mean, variance = (
        np.asarray(node.constant(index), np.float64) for index in range(1, 5)
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    offset = shift - mean * factor
    shape = (1, -1, *(1,) * (node.rank() - 2))
    scaled = relax.op.multiply(arguments[0], _constant(factor.reshape(shape).astype(np.float32)))
    return relax.op.add(builder.emit(scaled), _constant(offset.reshape(shape).astype(np.float32)))


CONVERTERS = {
    "Gemm": Converter(_convert_gemm, constants=(1, 2)),
    "MatMul": Converter(_convert_matmul, _refuse_matmul),
    "BatchNormalization": Converter(
        _convert_batch_norm, _refuse_batch_norm, constants=(1, 2, 3, 4)
    ),
}
