"""A Relax module with what the plan and the reports need to know of its variables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax


def constant(array: npt.NDArray[Any]) -> relax.Constant:
    """Return an array in Relax, in its own type, which TVM would halve where it has 64 bits."""
    return relax.const(np.ascontiguousarray(array), str(array.dtype))


@dataclass(frozen=True)
class Value:
    """What a Relax variable holds.

    Attributes:
        name: the ONNX value.
        shape: the shape that the network means, (N, C, *spatial) where it has channels.
        block: channels per block of an NCHWc layout; 0 for a plain tensor.
    """

    name: str
    shape: tuple[int, ...]
    block: int = 0


Padding = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Frame:
    """How a tensor lies inside a larger one in memory, as a box.

    Attributes:
        memory: the variable that the memory is named after.
        shape: the larger tensor's shape.
        begin: where in it the tensor's first element lies.
    """

    memory: str
    shape: tuple[int, ...]
    begin: tuple[int, ...]

    def row_start(self, box: tuple[int, ...]) -> int | None:
        """Return how many elements come before a box of this shape; None if it has gaps."""
        partial = [axis for axis, size in enumerate(self.shape) if box[axis] != size]
        first = partial[0] if partial else 0
        if len(partial) > 1 or prod(self.shape[:first]) > 1:
            return None
        return self.begin[first] * prod(self.shape[first + 1 :])


@dataclass(frozen=True)
class Graph:
    """A straight-line Relax function "main" and a side table of its variables.

    Relax variables carry no metadata through passes, but keep their names: the tables are keyed by
    them. Passes return a new graph.

    Attributes:
        module: the module; "main" is one dataflow block.
        values: which ONNX value a variable holds, by variable name.
        layers: ONNX nodes computed by a binding, by variable name.
        macs: multiply-accumulates of a binding, by variable name.
        families: kernel family of a binding, by variable name.
        paddings: zeros (before, after) the operand on each axis of a variable that is its padded
            operand, by name. The variable may be longer; what comes then does not matter.
        joins: the axis along which a variable joins its operands, by name.
        slices: of a variable that is a slice, the operand, the axis, and the first index, by name.
        amplifications: how many times as large the rounding errors of a sum of products come out
            of its layer, where transforms follow, by variable name.
        singles: variables that stay in single precision whatever is stored in half precision.
        repeats: variables that repeat every element of their operand along an axis.
        views: variables whose elements are those of their operand, in another order, or some.
        frames: how variables lie inside others, by name.
        in_place: variables whose operands lie where they shall be, so that nothing has to be done.
    """

    module: tvm.IRModule
    values: dict[str, Value] = field(default_factory=dict)
    layers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)
    paddings: dict[str, Padding] = field(default_factory=dict)
    joins: dict[str, int] = field(default_factory=dict)
    slices: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    amplifications: dict[str, float] = field(default_factory=dict)
    singles: set[str] = field(default_factory=set)
    repeats: frozenset[str] = frozenset()
    views: set[str] = field(default_factory=set)
    frames: dict[str, Frame] = field(default_factory=dict)
    in_place: frozenset[str] = frozenset()

    def with_module(self, module: tvm.IRModule) -> Graph:
        """Return the same tables over another module."""
        return replace(self, module=module)

    @property
    def main(self) -> tvm.relax.Function:
        """The function that is compiled."""
        return self.module["main"]
