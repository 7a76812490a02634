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


def _convert_space_to_depth(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """Blocks of pixels become channels, outermost ("DCR", the default) or innermost ("CRD")."""
    batch, channels, height, width = node.shape(0)
    block = node.attributes["blocksize"]
    split = (batch, channels, height // block, block, width // block, block)
    innermost = node.attributes.get("mode", b"DCR") in (b"CRD", "CRD")
    order = [0, 1, 3, 5, 2, 4] if innermost else [0, 3, 5, 1, 2, 4]
    blocks = builder.emit(relax.op.reshape(arguments[0], split))
    moved = builder.emit(relax.op.permute_dims(blocks, order))
    return relax.op.reshape(moved, node.shapes[node.outputs[0]])


CONVERTERS = {
    "SpaceToDepth": Converter(_convert_space_to_depth),
    "Split": Converter(_convert_split, constants=(1,)),
    "Reshape": Converter(_convert_reshape, constants=(1,)),
    "Flatten": Converter(_convert_reshape),
    "Squeeze": Converter(_convert_reshape, constants=(1,)),
    "Unsqueeze": Converter(_convert_reshape, constants=(1,)),
    "Identity": Converter(_convert_identity),
    "Dropout": Converter(_convert_identity, _refuse_dropout, constants=(1, 2)),
}
