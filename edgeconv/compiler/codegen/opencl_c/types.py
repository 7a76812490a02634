"""How values and tensors of each type are named in OpenCL C."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

# How values of each type lie in memory; OpenCL has no `bool` there.
STORED = {
    "bool": "uchar",
    "int8": "char",
    "uint8": "uchar",
    "int16": "short",
    "uint16": "ushort",
    "int32": "int",
    "uint32": "uint",
    "int64": "long",
    "uint64": "ulong",
    "float16": "half",
    "float32": "float",
}
# Stored as such in global memory, and calculated with as floats but for `halves.py`: OpenCL C has
# arithmetic of halves as an extension.
HALF = "float16"
TEXEL = 4  # elements of a texel of an image
LANES = "0123456789abcdef"  # how an element of a vector is named


class NoVectorError(Exception):
    """An expression or statement has no vector form."""


@dataclass
class Memory:
    """A buffer as the text names it."""

    name: str
    dtype: str
    space: str  # "__global", "__local" or "" for private
    elements: int
    lanes: int = 1  # of the vectors that it consists of: private arrays and images
    image: bool = False

    @property
    def calculates_in_half(self) -> bool:
        """Whether it is an array of halves in registers."""
        return self.dtype == HALF and not self.space


@dataclass
class Lane:
    """The innermost vectorised loop: its variable and extent."""

    var: tirx.Var
    count: int
