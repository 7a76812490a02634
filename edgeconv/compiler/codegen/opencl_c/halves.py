"""Arithmetic of halves in OpenCL C, which the extension `cl_khr_fp16` brings.

It is written on whole vectors only, and single lanes are spread by swizzling: compilers without the
extension take vectors of halves as well, under a name of their own (see `compiler/twin.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from edgeconv.compiler.codegen.opencl_c.expressions import INFIX, Expressions
from edgeconv.compiler.codegen.opencl_c.types import HALF, Memory

# Goes before a kernel that needs it.
EXTENSION = "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n"


@dataclass
class Halves(Expressions):
    """Writes expressions on vectors of halves."""

    def _half_vector(self, node: Any) -> str:
        """Return the text of an expression as a vector of halves, all lanes of it."""
        assert self.lane is not None
        if isinstance(node, (tirx.Add, tirx.Mul)):
            operator = INFIX[type(node)]
            return f"({self._half_vector(node.a)} {operator} {self._half_vector(node.b)})"
        if isinstance(node, tvm.ir.Call) and node.op.name == "prim.if_then_else":
            condition, *values = node.args
            if not self._varies(condition):
                first, second = map(self._half_vector, values)
                return f"({self._scalar(condition)} ? {first} : {second})"
        if isinstance(node, tvm.ir.expr.TensorLoad):
            text = self._half_load(node)
            if text is not None:
                return text
        return f"convert_half{self.lane.count}({self._vector(node)})"

    def _half_load(self, node: Any) -> str | None:
        """Return halves as they lie in memory; None where they have to be put together."""
        assert self.lane is not None
        memory, index = self.memories[node.source], node.indices[0]
        if memory.calculates_in_half:
            return self._half_private(memory, index)
        base = self._contiguous(index) if self._varies(index) else None
        if memory.dtype != HALF or base is None or not self._is_aligned(base, self.lane.count):
            return None
        if memory.image:
            place = self._index(self._divided(base, self.lane.count))
            return self._texel(memory, place, "read_imageh")
        kind = f"{memory.space} const half{self.lane.count} *"
        return f"*({kind})({self._address(memory, base)})"

    def _half_private(self, memory: Memory, index: Any) -> str | None:
        """Return halves that are in registers."""
        assert self.lane is not None
        if not self._varies(index):
            return self._spread(memory, index, self.lane.count)
        base = self._contiguous(index)
        if base is not None:
            return self._whole(memory, base)
        # One lane of every vector, each of which is spread twice to be a vector.
        first, second, third, fourth = (
            self._spread(memory, self._at_lane(index, self.lane, i), 2) for i in range(4)
        )
        pairs = f"((half4)({first}, {second})).s02", f"((half4)({third}, {fourth})).s02"
        return f"(half4)({pairs[0]}, {pairs[1]})"

    def _spread(self, memory: Memory, index: Any, count: int) -> str:
        """Return a vector of one element, so many times."""
        vector, lane = self._element(memory, index).split(".s")
        return f"{vector}.s{lane * count}"
