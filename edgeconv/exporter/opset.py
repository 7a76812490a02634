"""The opset that models are compiled at, and bringing older ones to it."""

from __future__ import annotations

import onnx
from onnx import helper

from edgeconv.errors import UnsupportedModelError

OPSET = 20
# From here on the operands of element-wise operators broadcast as in NumPy.
_NUMPY_BROADCAST = 7


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard's operators that a model uses."""
    return next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), OPSET)


def raised(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Return the model at `OPSET` at least, so that an operator has one meaning from here on.

    Raises:
        UnsupportedModelError: an operator cannot be converted.
    """
    version = opset_of(model)
    if version >= OPSET:
        return model
    if version < _NUMPY_BROADCAST:
        model = _with_aligned_slopes(model, origin)
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        # The converter raises its own and the C++ library's exceptions.
        raise UnsupportedModelError(
            f"{origin}: cannot be converted from opset {version} to {OPSET} ({error}); export the "
            f"network at opset {OPSET}"
        ) from error


def _with_aligned_slopes(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Return the model with each PRelu's slopes along axis 1, where they were meant before opset 7.

    ONNX's version converter leaves them along the last axis.
    """
    if not any(node.op_type == "PRelu" for node in model.graph.node):
        return model
    aligned = onnx.shape_inference.infer_shapes(model)
    graph = aligned.graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in [*graph.input, *graph.value_info, *graph.output]
        if value.type.tensor_type.HasField("shape")
    }
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type == "PRelu":
            data, slope = node.input
            if data not in ranks:
                raise UnsupportedModelError(
                    f"{origin}: PRelu {node.name}: along which axis its slopes are meant cannot "
                    f"be told, since the rank of {data} is not known; export the network at "
                    f"opset {OPSET}"
                )
            if ranks[data] > 2:
                node.input[1] = f"{node.output[0]}_slope"
                axes = list(range(1, ranks[data] - 1))
                graph.node.append(
                    helper.make_node("Unsqueeze", [slope], [node.input[1]], axes=axes)
                )
        graph.node.append(node)
    return aligned
