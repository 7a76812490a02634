"""Converters of element-wise operators that TVM's importer makes more of than needed."""

from __future__ import annotations

import numpy as np
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _bound(node: Node, index: int, attribute: str, default: float) -> float:
    constant = node.constant(index)
    if constant is not None:
        return float(constant)
    return float(node.attributes.get(attribute, default))


def _convert_clip(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    limit = float(np.finfo(np.float32).max)
    low, high = _bound(node, 1, "min", -limit), _bound(node, 2, "max", limit)
    return relax.op.clip(arguments[0], low, high)


def _convert_hard_swish(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """x * clip(x / 6 + 1/2, 0, 1)."""
    data = arguments[0]
    sixth = builder.emit(relax.op.multiply(data, relax.const(1.0 / 6.0, "float32")))
    gate = builder.emit(relax.op.add(sixth, relax.const(0.5, "float32")))
    return relax.op.multiply(data, builder.emit(relax.op.clip(gate, 0.0, 1.0)))


CONVERTERS = {
    "Clip": Converter(_convert_clip, constants=(1, 2)),
    "HardSwish": Converter(_convert_hard_swish),
}
