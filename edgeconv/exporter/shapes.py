"""Shapes that ONNX's own inference leaves open, though the standard defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgeconv.exporter.graph import ValueType, value_types

Constants = Mapping[str, npt.NDArray[Any]]
Rule = Callable[[onnx.NodeProto, Mapping[str, ValueType], Constants], tuple[int, ...] | None]


def complete(model: onnx.ModelProto) -> bool:
    """Write shapes of values that `RULES` knows into `model`; return whether there were any."""
    types = value_types(model)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    outputs = {value.name: value for value in model.graph.output}
    found = False
    for node in model.graph.node:
        rule = RULES.get(node.op_type)
        if rule is None or node.output[0] in types or node.input[0] not in types:
            continue
        shape = rule(node, types, constants)
        if shape is None:
            continue
        dtype = onnx.helper.np_dtype_to_tensor_dtype(types[node.input[0]].dtype)
        value = onnx.helper.make_tensor_value_info(node.output[0], dtype, shape)
        if node.output[0] in outputs:
            outputs[node.output[0]].CopyFrom(value)
        else:
            model.graph.value_info.append(value)
        found = True
    return found


def _same(
    node: onnx.NodeProto, types: Mapping[str, ValueType], constants: Constants
) -> tuple[int, ...]:
    return types[node.input[0]].shape


def _max_unpool(
    node: onnx.NodeProto, types: Mapping[str, ValueType], constants: Constants
) -> tuple[int, ...] | None:
    shape = constants.get(node.input[2]) if len(node.input) > 2 else None
    return None if shape is None else tuple(int(size) for size in shape)


def _col2im(
    node: onnx.NodeProto, types: Mapping[str, ValueType], constants: Constants
) -> tuple[int, ...] | None:
    image, block = (constants.get(name) for name in node.input[1:3])
    if image is None or block is None:
        return None
    batch, rows, _ = types[node.input[0]].shape
    return (batch, rows // int(block.prod()), *(int(size) for size in image))


RULES: dict[str, Rule] = {
    "Col2Im": _col2im,
    "GroupNormalization": _same,
    "MaxUnpool": _max_unpool,
}
