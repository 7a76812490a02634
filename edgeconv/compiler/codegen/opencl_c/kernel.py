"""A kernel in OpenCL C: its arguments, body and work-items."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from edgeconv.compiler.codegen.opencl_c.halves import EXTENSION
from edgeconv.compiler.codegen.opencl_c.statements import DIMENSIONS, Statements
from edgeconv.compiler.codegen.opencl_c.types import HALF, STORED, TEXEL, Memory
from edgeconv.plan import NDRange


@dataclass(frozen=True)
class Source:
    """A kernel as text, its work-items, and which of its parameters are images."""

    text: str
    ndrange: NDRange
    images: tuple[int, ...]


def write_kernel(
    function: tirx.PrimFunc,
    symbol: str,
    *,
    texels: int = 0,
    apart: Container[int] = (),
    halves: frozenset[Any] = frozenset(),
) -> Source:
    """Return the kernel `symbol` whose arguments are the function's parameters.

    They are pointers. One that the kernel only reads, as vectors of four floats or halves at
    multiples of four elements, becomes an `image1d_buffer_t` of such texels and an `int`, the
    tensor's first texel. No such access is out of range.

    Args:
        function: lowered, with loops that are to be vectors still of that kind.
        symbol: name of the kernel.
        texels: most texels of an image; 0 for no images.
        apart: positions of parameters that stay pointers.
        halves: private arrays of halves that it calculates with in half precision.

    Raises:
        GpuRefusalError: for TIR that has no form in OpenCL C.
    """
    # Private arrays that are only read and written as whole vectors, or at constant places,
    # become arrays of vectors, and parameters that are only read so become images; which ones are
    # not shows while writing.
    scalar: set[str] = set()
    while True:
        writer = _Writer(set(scalar), halves, texels=texels, apart=apart)
        text = writer.kernel(function, symbol)
        if writer.scalar == scalar:
            return Source(text, writer.ndrange(), writer.images(function))
        scalar = writer.scalar


@dataclass
class _Writer(Statements):
    texels: int = 0
    apart: Container[int] = ()

    def kernel(self, function: tirx.PrimFunc, symbol: str) -> str:
        for i, buffer in enumerate(function.params):
            self.memories[buffer] = self._memory(f"p{i}", buffer, "__global")
            if i not in self.apart and self._may_be_image(self.memories[buffer]):
                self.memories[buffer].image, self.memories[buffer].lanes = True, TEXEL
        self._statement(function.body)
        arguments = ", ".join(self._argument(self.memories[p]) for p in function.params)
        local = ", ".join(map(str, self.ndrange().local_size))
        head = (
            f"__attribute__((reqd_work_group_size({local})))\n__kernel void {symbol}({arguments})"
        )
        body = "\n".join([*self.shared, *self.lines])
        extension = EXTENSION if self.halves else ""
        return extension + "".join(self.helpers.values()) + f"{head}\n{{\n{body}\n}}\n"

    def images(self, function: tirx.PrimFunc) -> tuple[int, ...]:
        return tuple(i for i, p in enumerate(function.params) if self.memories[p].image)

    def _may_be_image(self, memory: Memory) -> bool:
        fits = TEXEL <= memory.elements <= TEXEL * self.texels
        return fits and memory.dtype in (HALF, "float32") and memory.name not in self.scalar

    def _argument(self, memory: Memory) -> str:
        if memory.image:
            return f"__read_only image1d_buffer_t {memory.name}, const int {memory.name}_base"
        constant = "" if memory.name in self.written else "const "
        return f"__global {constant}{STORED[memory.dtype]} *restrict {memory.name}"

    def ndrange(self) -> NDRange:
        def sizes(name: str) -> tuple[int, int, int]:
            x, y, z = (self.extents.get(f"{name}.{axis}", 1) for axis in DIMENSIONS)
            return x, y, z

        groups, local = sizes("blockIdx"), sizes("threadIdx")
        whole = (groups[0] * local[0], groups[1] * local[1], groups[2] * local[2])
        return NDRange(whole, local)
