"""Half precision, which is for storage: operators compute in single precision and round at the end.

So does ONNX Runtime on processors. Sums of halves would lose most of their digits, and no core
that edgeconv compiles for is required to calculate with them.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace

import numpy as np
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, dtype_of
from edgeconv.compiler.importer.node import Node
from edgeconv.exporter.tolerance import EXACT

HALF, SINGLE = "float16", "float32"
# Their results follow from the very type of what they get.
_TYPED = frozenset(["DequantizeLinear", "QuantizeLinear"])


def in_single(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> tuple[Node, Arguments]:
    """Return a node and its arguments in single precision, where it would calculate in half."""
    if node.op in EXACT | _TYPED or all(node.dtypes.get(name) != HALF for name in node.inputs):
        return node, arguments
    names = filter(None, (*node.inputs, *node.outputs))
    halves = {name: SINGLE for name in names if node.dtypes.get(name) == HALF}
    constants = {
        name: node.constants[name].astype(np.float32) for name in halves if name in node.constants
    }
    wide = replace(
        node,
        dtypes=ChainMap(halves, dict(node.dtypes)),
        constants=ChainMap(constants, dict(node.constants)),
    )

    def widened(name: str, argument: relax.Expr | None) -> relax.Expr | None:
        if name not in halves:
            return argument
        if name in constants:
            return relax.const(constants[name], SINGLE)
        return builder.emit(relax.op.astype(argument, SINGLE))

    return wide, [widened(*pair) for pair in zip(node.inputs, arguments, strict=True)]


def rounded(builder: relax.BlockBuilder, result: relax.Expr, dtype: str) -> relax.Expr:
    """Return a result in half precision where `dtype` says so."""
    if dtype != HALF:
        return result
    bound = builder.emit(result)
    return bound if dtype_of(bound) == HALF else relax.op.astype(bound, HALF)
