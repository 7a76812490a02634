"""Questions about an ONNX graph whose shapes are all known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx


@dataclass(frozen=True)
class ValueType:
    """Shape and NumPy dtype of one value."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size of the tensor, packed."""
        return self.elements * self.dtype.itemsize


def value_types(model: onnx.ModelProto) -> dict[str, ValueType]:
    """Return the type of every input, constant, intermediate value and output, by name.

    Values whose shape is open are left out.
    """
    graph = model.graph
    types = {
        tensor.name: ValueType(tuple(tensor.dims), _dtype(tensor.data_type))
        for tensor in graph.initializer
    }
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            shape = tuple(dimension.dim_value for dimension in kind.shape.dim)
            types[value.name] = ValueType(shape, _dtype(kind.elem_type))
    return types


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return a node's attribute as a plain Python value, or `default`."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def set_attribute(node: onnx.NodeProto, name: str, value: int | str | list[int]) -> None:
    """Give a node's attribute a value, in place of one that it has."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def first_output(node: onnx.NodeProto) -> str:
    """Return the first output that a node has; recurrent layers may leave out those before it."""
    return next(str(name) for name in node.output if name)


def _dtype(code: int) -> np.dtype[Any]:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code))
