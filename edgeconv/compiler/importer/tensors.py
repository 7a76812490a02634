"""Converters of operators that move, name or combine tensors."""

from __future__ import annotations

import numpy as np
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _convert_reshape(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """Reshape, Flatten, Squeeze, Unsqueeze: the inferred output shape says it all."""
    return relax.op.reshape(arguments[0], node.shapes[node.outputs[0]])


def _convert_identity(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    return arguments[0]


def _refuse_dropout(node: Node) -> str | None:
    if bool(node.constant(2)):
        return "training mode"
    return "the mask output is not supported" if len(node.outputs) > 1 else None


def _convert_split(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> list[relax.Expr]:
    """A slice for each part, so that one that nothing reads costs nothing."""
    axis = node.attributes.get("axis", 0) % node.rank()
    ends = np.cumsum([node.shapes[name][axis] for name in node.outputs])
    begins = [0, *ends[:-1]]
    return [
        relax.op.strided_slice(arguments[0], [axis], [int(begin)], [int(end)])
        for begin, end in zip(begins, ends, strict=True)
    ]


CONVERTERS = {
    "Split": Converter(_convert_split, constants=(1,)),
    "Reshape": Converter(_convert_reshape, constants=(1,)),
    "Flatten": Converter(_convert_reshape),
    "Squeeze": Converter(_convert_reshape, constants=(1,)),
    "Unsqueeze": Converter(_convert_reshape, constants=(1,)),
    "Identity": Converter(_convert_identity),
    "Dropout": Converter(_convert_identity, _refuse_dropout, constants=(1, 2)),
}
