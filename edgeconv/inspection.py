"""A model layer by layer: family, shapes, work, parameters, memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeconv.exporter.graph import ValueType, attribute, value_types
from edgeconv.exporter.tolerance import accumulation_length
from edgeconv.ops import op_name, op_of

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

# Kernel families of what is no convolution, by ONNX operator.
_FAMILIES = {
    **dict.fromkeys(
        ("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape"),
        "movement",
    ),
    **dict.fromkeys(
        ("Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
        "movement",
    ),
    "AveragePool": "pool",
    "BatchNormalization": "normalisation",
    "ConvTranspose": "transposed",
    **dict.fromkeys(("GRU", "LSTM", "RNN"), "recurrent"),
    "Gemm": "gemm",
    "GlobalAveragePool": "pool",
    "GlobalMaxPool": "pool",
    "GroupNormalization": "normalisation",
    "InstanceNormalization": "normalisation",
    "LayerNormalization": "normalisation",
    "LogSoftmax": "softmax",
    "MatMul": "gemm",
    "MaxPool": "pool",
    "ReduceMean": "pool",
    "Resize": "resize",
    "Softmax": "softmax",
}
_VOLUME_RANK = 5


@dataclass(frozen=True)
class Layer:
    """One node of the graph.

    Attributes:
        name: the node's name.
        op: ONNX operator, after its domain where that is not the standard one.
        family: of a convolution dense, pointwise, depthwise, grouped, dilated, transposed or 3d;
            of a registered operator its own; else gemm, recurrent, pool, normalisation, softmax,
            resize, movement or elementwise.
        inputs: shapes of the inputs that are computed, not constant.
        outputs: shapes of the outputs.
        macs: multiply-accumulates; 0 for what has no matrix product or convolution.
        parameters: elements of the weights (floating point, no scalars) first used here.
        output_bytes: size of the outputs.
        unsupported: why the target does not run it; None where it does, or was not asked.
    """

    name: str
    op: str
    family: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    macs: int
    parameters: int
    output_bytes: int
    unsupported: str | None = None


@dataclass(frozen=True)
class Totals:
    """Sums over layers, and the size of the largest single output in bytes."""

    layers: int
    macs: int
    parameters: int
    output_bytes: int
    largest_output_bytes: int


def inspect_model(
    model: onnx.ModelProto, unsupported: Mapping[str, str] | None = None
) -> list[Layer]:
    """Describe every node of a model whose shapes are all known, in the graph's order.

    Args:
        model: such as `edgeconv.exporter.export` returns.
        unsupported: reason by node name, of the nodes that a target does not run.
    """
    types = value_types(model)
    reasons = unsupported or {}
    unseen = {tensor.name for tensor in model.graph.initializer}
    constants = set(unseen)
    layers = []
    for node in model.graph.node:
        own = unseen.intersection(node.input)
        unseen -= own
        outputs = [types[name] for name in node.output if name]
        layers.append(
            Layer(
                name=node.name,
                op=op_name(node),
                family=family(node, types),
                inputs=tuple(types[n].shape for n in node.input if n and n not in constants),
                outputs=tuple(output.shape for output in outputs),
                macs=multiply_accumulates(node, types),
                parameters=sum(types[name].elements for name in own if _is_weight(types[name])),
                output_bytes=sum(output.bytes for output in outputs),
                unsupported=reasons.get(node.name),
            )
        )
    return layers


def _is_weight(constant: ValueType) -> bool:
    return constant.dtype.kind == "f" and len(constant.shape) > 0


def totals(layers: Iterable[Layer]) -> Totals:
    """Add up layers."""
    listed = list(layers)
    return Totals(
        layers=len(listed),
        macs=sum(layer.macs for layer in listed),
        parameters=sum(layer.parameters for layer in listed),
        output_bytes=sum(layer.output_bytes for layer in listed),
        largest_output_bytes=max((layer.output_bytes for layer in listed), default=0),
    )


def family(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> str:
    """Return the kernel family of a node; `Layer.family` lists them."""
    op = op_of(node)
    if op is not None:
        return op.family
    if node.op_type != "Conv":
        return _FAMILIES.get(node.op_type, "elementwise")
    weight = types[node.input[1]].shape
    groups = attribute(node, "group", 1)
    if len(weight) == _VOLUME_RANK:
        return "3d"
    if any(step > 1 for step in attribute(node, "dilations", [1])):
        return "dilated"
    if groups > 1:
        return "depthwise" if weight[1] == 1 else "grouped"
    return "pointwise" if math.prod(weight[2:]) == 1 else "dense"


def multiply_accumulates(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    """Return the multiply-accumulates of a convolution, matrix product or recurrent layer.

    Other nodes have 0; a registered operator counts its own.
    """
    op = op_of(node)
    if op is not None:
        return op.macs(node, types)
    if node.op_type == "ConvTranspose":
        # Every input element meets every tap of its group's filters.
        return types[node.input[0]].elements * math.prod(types[node.input[1]].shape[1:])
    if node.op_type in {"GRU", "LSTM", "RNN"}:
        # Every weight meets every step of every sequence of the batch.
        places = math.prod(types[node.input[0]].shape[:2])
        return places * sum(types[weight].elements for weight in node.input[1:3])
    if node.op_type in {"Conv", "Gemm", "MatMul"}:
        return types[node.output[0]].elements * accumulation_length(node, types)
    return 0
