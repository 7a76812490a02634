"""Which inputs of a model set its shapes or its code, and so must be constants."""

from __future__ import annotations

import onnx

from edgeconv.compiler.importer.table import find_converter
from edgeconv.exporter.definitions import spell_out
from edgeconv.ops import op_name

# These read the shape of their input, not its values.
_SHAPE_READERS = frozenset(["Shape", "Size"])


def setting_inputs(model: onnx.ModelProto) -> set[str]:
    """Return the graph inputs whose values reach an input that a converter needs constant."""
    needed: set[str] = set()
    plain, _ = spell_out(model, lambda node: find_converter(op_name(node)) is None)
    for node in reversed(plain.graph.node):
        if needed.intersection(node.output):
            if node.op_type not in _SHAPE_READERS:
                needed.update(_read_by(node))
        elif converter := find_converter(op_name(node)):
            needed.update(node.input[i] for i in converter.constants if i < len(node.input))
    return needed & {value.name for value in model.graph.input}


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Return what a node reads, its branches included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _read_by(inner)
    return names
