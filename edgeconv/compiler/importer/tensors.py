"""Converters of operators that move, name or combine tensors."""

from __future__ import annotations

import numpy as np
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter, Refuse
from edgeconv.compiler.importer.node import Node


def refuse_open_constants(*indices: int) -> Refuse:
    """Refuse a node where one of the inputs that set its shape is computed."""

    def refuse(node: Node) -> str | None:
        for index in indices:
            if node.has_input(index) and node.constant(index) is None:
                return f"input {index} ({node.inputs[index]}) must be a constant"
        return None

    return refuse


def _convert_reshape(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """Reshape, Flatten, Squeeze, Unsqueeze: the inferred output shape says it all."""
    return relax.op.reshape(arguments[0], node.shapes[node.outputs[0]])


def _convert_identity(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    return arguments[0]


def _refuse_dropout(node: Node) -> str | None:
    training = node.constant(2)
    if node.has_input(2) and (training is None or bool(training)):
        return "training mode"
    return "the mask output is not supported" if len(node.outputs) > 1 else None


def _fold_constant_indices(node: Node) -> str | None:
    indices = node.constant(1)
    if indices is None:
        return "indices that are computed are not supported"
    return "a constant table is not supported" if node.constant(0) is not None else None


def _convert_gather(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    axis = node.attributes.get("axis", 0) % node.rank()
    indices = np.asarray(node.constant(1), np.int64) % node.shape(0)[axis]
    taken = relax.op.take(arguments[0], relax.const(indices.reshape(-1), "int64"), axis)
    return relax.op.reshape(builder.emit(taken), node.shapes[node.outputs[0]])


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
    "Split": Converter(_convert_split, refuse_open_constants(1)),
    "Reshape": Converter(_convert_reshape),
    "Flatten": Converter(_convert_reshape),
    "Squeeze": Converter(_convert_reshape),
    "Unsqueeze": Converter(_convert_reshape),
    "Identity": Converter(_convert_identity),
    "Dropout": Converter(_convert_identity, _refuse_dropout),
    "Gather": Converter(_convert_gather, _fold_constant_indices),
}
