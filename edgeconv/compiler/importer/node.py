"""An ONNX node with everything that a converter asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: unique name.
        layer: name of the node in the model; another one where this node is part of its definition.
        op: operator type; prefixed with its domain outside the standard one.
        inputs: value names; "" where an optional input is left out.
        outputs: value names.
        attributes: Python values by attribute name.
        opset: version of the standard operator set.
        constants: every constant of the graph, by value name.
        shapes: every known shape, by value name; open dimensions are -1.
        dtypes: every known element type, by value name: NumPy's name, or ONNX's for a type that
            NumPy lacks.
    """

    name: str
    layer: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int
    constants: Mapping[str, npt.NDArray[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]

    def has_input(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return the value of input `index` where it is a constant."""
        return self.constants.get(self.inputs[index]) if self.has_input(index) else None

    def inputs_computed(self) -> list[str]:
        """Return the inputs that are given and not constant."""
        return [name for name in self.inputs if name and name not in self.constants]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of input `index`."""
        constant = self.constant(index)
        if constant is not None:
            return tuple(constant.shape)
        return self.shapes[self.inputs[index]]

    def rank(self, index: int = 0) -> int:
        """Return the number of dimensions of input `index`."""
        return len(self.shape(index))

    def dtype(self, index: int = 0) -> str:
        """Return the element type of input `index`."""
        return self.dtypes[self.inputs[index]]

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a string."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)
