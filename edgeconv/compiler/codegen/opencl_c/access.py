"""Reading and writing tensors in OpenCL C: elements, vectors, vectors of half precision."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tvm import tirx
from tvm.sym.analyzer import Analyzer

from edgeconv.compiler.codegen.opencl_c.types import (
    HALF,
    LANES,
    STORED,
    Lane,
    Memory,
    NoVectorError,
)
from edgeconv.compiler.schedules.common import replaced, uses
from edgeconv.compiler.schedules.gpu.refusal import GpuRefusalError


@dataclass
class Access(ABC):
    """The text of a kernel so far, and its tensors.

    Attributes:
        scalar: names of the tensors of which more than whole vectors is accessed: private arrays
            that are no arrays of vectors, and parameters that are no images.
        halves: private arrays, by TIR's buffer, of halves that are calculated with as such.
        lines: the kernel's body.
        names: what TIR's variables are called.
        taken: all names.
        memories: tensors by TIR's buffer.
        written: names of the tensors that the kernel writes.
        depth: of the indentation.
        lane: the vectorised loop around, if there is one.
    """

    scalar: set[str]
    halves: frozenset[Any]
    lines: list[str] = field(default_factory=list)
    names: dict[Any, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    memories: dict[Any, Memory] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    depth: int = 1
    lane: Lane | None = None
    analyzer: Any = field(default_factory=Analyzer)

    @abstractmethod
    def _scalar(self, node: Any) -> str:
        """Return the text of an expression of one value."""

    def _name(self, hint: str) -> str:
        stem = re.sub(r"\W", "_", hint)
        name, number = stem, 0
        while name in self.taken or re.fullmatch(r"p\d+(_base)?", name):
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _varies(self, node: Any) -> bool:
        """Whether lanes differ in `node`."""
        if self.lane is None:
            return False
        return uses(node, self.lane.var)

    def _memory(self, name: str, buffer: Any, space: str) -> Memory:
        dtype = str(buffer.dtype)
        if dtype not in STORED:
            raise GpuRefusalError(f"OpenCL C 1.2 has no tensors of {dtype}")
        if dtype == HALF and space != "__global" and buffer not in self.halves:
            dtype = "float32"
        return Memory(name, dtype, space, prod(int(size) for size in buffer.shape))

    def _at_lane(self, node: Any, lane: Lane, i: int) -> Any:
        number = tirx.IntImm(str(lane.var.ty.dtype), i)
        return self.analyzer.simplify(replaced(node, lane.var, number))

    def _contiguous(self, index: Any) -> Any:
        """Return the index of the first lane where the others follow it in memory, else None."""
        assert self.lane is not None
        first = self._at_lane(index, self.lane, 0)
        rest = self.analyzer.simplify(index - first - self.lane.var)
        return first if isinstance(rest, tirx.IntImm) and rest.value == 0 else None

    def _is_aligned(self, index: Any, lanes: int) -> bool:
        span = self.analyzer.modular_set(index)
        return int(span.coeff) % lanes == 0 and int(span.base) % lanes == 0

    def _address(self, memory: Memory, index: Any) -> str:
        return f"{memory.name} + {self._index(index)}"

    def _index(self, index: Any) -> str:
        """Write an index, of scalars."""
        lane, self.lane = self.lane, None
        text = self._scalar(index)
        self.lane = lane
        return text

    def _element(self, memory: Memory, index: Any) -> str:
        """Return the text of one element, which can be read and written."""
        if memory.lanes == 1:
            return f"{memory.name}[{self._index(index)}]"
        place = self.analyzer.simplify(index)
        if memory.image or not isinstance(place, tirx.IntImm):
            self.scalar.add(memory.name)
            return memory.name
        vector, lane = divmod(place.value, memory.lanes)
        return f"{memory.name}[{vector}].s{LANES[lane]}"

    def _whole(self, memory: Memory, base: Any) -> str | None:
        """Return the text of the vector from `base` on; None where it takes a call."""
        assert self.lane is not None
        count = self.lane.count
        if memory.lanes > 1:
            if count != memory.lanes or not self._is_aligned(base, count):
                self.scalar.add(memory.name)
            place = self._index(self._divided(base, count))
            return self._texel(memory, place) if memory.image else f"{memory.name}[{place}]"
        if not memory.space or memory.dtype == HALF or not self._is_aligned(base, count):
            return None
        constant = "" if memory.name in self.written else "const "
        kind = f"{memory.space} {constant}{STORED[memory.dtype]}{count} *"
        return f"*({kind})({self._address(memory, base)})"

    def _texel(self, memory: Memory, place: str, read: str = "read_imagef") -> str:
        if memory.name in self.written:
            self.scalar.add(memory.name)
        return f"{read}({memory.name}, {memory.name}_base + {place})"

    def _divided(self, index: Any, by: int) -> Any:
        return self.analyzer.simplify(tirx.floordiv(index, by))

    def _read(self, memory: Memory, index: Any) -> str:
        """Return the value of one element."""
        if memory.dtype == HALF and not memory.image:
            return f"vload_half({self._index(index)}, {memory.name})"
        text = self._element(memory, index)
        return f"({text} != 0)" if memory.dtype == "bool" else text

    def _read_vector(self, memory: Memory, base: Any) -> str:
        """Return the values of all lanes, which lie one after the other from `base` on."""
        assert self.lane is not None
        load = "vload_half" if memory.dtype == HALF else "vload"
        text = self._whole(memory, base) or (
            f"{load}{self.lane.count}(0, {self._address(memory, base)})"
        )
        if memory.calculates_in_half:
            return f"convert_float{self.lane.count}({text})"
        return f"(convert_int{self.lane.count}({text}) != 0)" if memory.dtype == "bool" else text

    def _write(self, memory: Memory, index: Any, value: str) -> None:
        """Write one element."""
        if memory.dtype == HALF and not memory.image:
            self._line(f"vstore_half({value}, {self._index(index)}, {memory.name});")
            return
        value = f"(uchar)({value})" if memory.dtype == "bool" else value
        self._line(f"{self._element(memory, index)} = {value};")

    def _write_vector(self, memory: Memory, base: Any, value: str) -> None:
        """Write the lanes one after the other from `base` on."""
        assert self.lane is not None
        place = self._whole(memory, base)
        if place is not None:
            self._line(f"{place} = {value};")
        else:
            store = "vstore_half" if memory.dtype == HALF else "vstore"
            self._line(f"{store}{self.lane.count}({value}, 0, {self._address(memory, base)});")

    def _scatter(self, memory: Memory, index: Any, value: str) -> None:
        """Write the lanes of a vector one by one."""
        assert self.lane is not None
        if not self._varies(index):
            raise NoVectorError
        lane, self.lane = self.lane, None
        name = self._name("lanes")
        kind = "float" if memory.dtype == HALF else STORED[memory.dtype]
        self._line(f"const {kind}{lane.count} {name} = {value};")
        for i in range(lane.count):
            self._write(memory, self._at_lane(index, lane, i), f"{name}.s{LANES[i]}")
        self.lane = lane
