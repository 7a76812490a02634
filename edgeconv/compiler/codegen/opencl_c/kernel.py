"""A kernel in OpenCL C: its arguments, body and work-items."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from edgeconv.compiler.codegen.opencl_c.statements import DIMENSIONS, Statements
from edgeconv.compiler.codegen.opencl_c.types import STORED
from edgeconv.plan import NDRange


@dataclass(frozen=True)
class Source:
    """A kernel as text, and its work-items."""

    text: str
    ndrange: NDRange


def write_kernel(function: tirx.PrimFunc, symbol: str) -> Source:
    """Return the kernel `symbol` whose arguments are pointers to the function's parameters.

    Args:
        function: lowered, with loops that are to be vectors still of that kind.
        symbol: name of the kernel.

    Raises:
        GpuRefusalError: for TIR that has no form in OpenCL C.
    """
    # Private arrays that are only read and written as whole vectors, or at constant places,
    # become arrays of vectors; which ones are not shows while writing.
    scalar: set[str] = set()
    while True:
        writer = _Writer(set(scalar))
        text = writer.kernel(function, symbol)
        if writer.scalar == scalar:
            return Source(text, writer.ndrange())
        scalar = writer.scalar


@dataclass
class _Writer(Statements):
    def kernel(self, function: tirx.PrimFunc, symbol: str) -> str:
        for i, buffer in enumerate(function.params):
            self.memories[buffer] = self._memory(f"p{i}", buffer, "__global")
        self._statement(function.body)
        arguments = ", ".join(
            f"__global {'' if memory.name in self.written else 'const '}"
            f"{STORED[memory.dtype]} *restrict {memory.name}"
            for memory in map(self.memories.__getitem__, function.params)
        )
        local = ", ".join(map(str, self.ndrange().local_size))
        head = (
            f"__attribute__((reqd_work_group_size({local})))\n__kernel void {symbol}({arguments})"
        )
        body = "\n".join([*self.shared, *self.lines])
        return "".join(self.helpers.values()) + f"{head}\n{{\n{body}\n}}\n"

    def ndrange(self) -> NDRange:
        def sizes(name: str) -> tuple[int, int, int]:
            x, y, z = (self.extents.get(f"{name}.{axis}", 1) for axis in DIMENSIONS)
            return x, y, z

        groups, local = sizes("blockIdx"), sizes("threadIdx")
        whole = (groups[0] * local[0], groups[1] * local[1], groups[2] * local[2])
        return NDRange(whole, local)
