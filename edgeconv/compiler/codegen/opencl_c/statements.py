"""Statements of TIR in OpenCL C: loops, conditions, thread axes, allocations, stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import tirx

from edgeconv.compiler.codegen.opencl_c.halves import Halves
from edgeconv.compiler.codegen.opencl_c.types import STORED, Lane, NoVectorError
from edgeconv.compiler.schedules.common import replaced
from edgeconv.compiler.schedules.gpu.refusal import GpuRefusalError

_VECTORS = (2, 4, 8, 16)
DIMENSIONS = {"x": 0, "y": 1, "z": 2}
_THREADS = {"blockIdx": ("g", "get_group_id"), "threadIdx": ("l", "get_local_id")}


@dataclass
class Statements(Halves):
    """Writes statements.

    Attributes:
        shared: declarations of local memory.
        extents: of the thread axes, by TVM's tag.
    """

    shared: list[str] = field(default_factory=list)
    extents: dict[str, int] = field(default_factory=dict)

    def _statement(self, node: Any) -> None:
        visit = _STATEMENTS.get(type(node))
        if visit is None:
            raise GpuRefusalError(f"OpenCL C has no form of a {type(node).__name__} statement")
        visit(self, node)

    def _sequence(self, node: Any) -> None:
        for statement in node.seq:
            self._statement(statement)

    def _attribute(self, node: Any) -> None:
        if node.attr_key == "thread_extent":
            self._thread(node.node, int(node.value))
        self._statement(node.body)

    def _thread(self, axis: Any, extent: int) -> None:
        tag = str(axis.thread_tag)
        kind, _, dimension = tag.partition(".")
        if kind not in _THREADS or dimension not in DIMENSIONS:
            raise GpuRefusalError(f"OpenCL C has no form of a thread axis {tag!r}")
        prefix, function = _THREADS[kind]
        name = f"{prefix}{dimension}"
        if tag not in self.extents:
            self.extents[tag] = extent
            self.taken.add(name)
            self._line(f"const int {name} = {function}({DIMENSIONS[dimension]});")
        self.names[axis.var] = name
        self.analyzer.bind(axis.var, tvm.ir.Range(0, extent), allow_override=True)

    def _declaration(self, node: Any) -> None:
        """Another shape of memory that has a name already."""
        self.memories[node.buffer] = self.memories[node.data.args[0]]

    def _allocation(self, node: Any) -> None:
        buffer = node.buffer
        shared = buffer.scope().startswith("shared")
        memory = self._memory(self._name(buffer.name), buffer, "__local" if shared else "")
        self.memories[buffer] = memory
        vector = memory.dtype != "bool" and memory.elements % 4 == 0
        if not shared and vector and memory.name not in self.scalar:
            memory.lanes = 4
        size = memory.elements // memory.lanes
        lanes = "" if memory.lanes == 1 else str(memory.lanes)
        text = f"{STORED[memory.dtype]}{lanes} {memory.name}[{size}];"
        if shared:
            self.shared.append(f"    __local {text}")
        else:
            self._line(text)

    def _binding(self, node: Any) -> None:
        name = self._name(node.var.name)
        self._line(f"const {self._type(node.value)} {name} = {self._scalar(node.value)};")
        self.names[node.var] = name

    def _evaluation(self, node: Any) -> None:
        name = getattr(getattr(node.value, "op", None), "name", "")
        if name == "tirx.tvm_storage_sync":
            self._line("barrier(CLK_LOCAL_MEM_FENCE);")
        elif not isinstance(node.value, tirx.IntImm):
            raise GpuRefusalError(f"OpenCL C has no form of the statement {node.value}")

    def _loop(self, node: Any) -> None:
        extent = int(node.extent)
        vector = int(node.kind) == tirx.ForKind.VECTORIZED and extent in _VECTORS
        if vector and self.lane is None and self._vector_loop(node, extent):
            return
        name = self._name(node.loop_var.name)
        self.names[node.loop_var] = name
        self.analyzer.bind(
            node.loop_var, tvm.ir.Range.from_min_extent(node.min, extent), allow_override=True
        )
        first = int(node.min)
        self._line(f"for (int {name} = {first}; {name} < {first + extent}; ++{name}) {{")
        self._block(node.body)

    def _vector_loop(self, node: Any, extent: int) -> bool:
        """Write the body on vectors; return False, and write nothing, where it has no such form."""
        written, depth = len(self.lines), self.depth
        self.lane = Lane(node.loop_var, extent)
        self.analyzer.bind(node.loop_var, tvm.ir.Range(0, extent), allow_override=True)
        try:
            self._statement(node.body)
        except NoVectorError:
            del self.lines[written:]
            self.depth = depth
            return False
        finally:
            self.lane = None
        return True

    def _block(self, body: Any, end: str = "}") -> None:
        self.depth += 1
        self._statement(body)
        self.depth -= 1
        self._line(end)

    def _condition(self, node: Any) -> None:
        if self._varies(node.condition):
            self._each_lane(node)
            return
        self._line(f"if ({self._scalar(node.condition)}) {{")
        if node.else_case is None:
            self._block(node.then_case)
        else:
            self._block(node.then_case, "} else {")
            self._block(node.else_case)

    def _each_lane(self, node: Any) -> None:
        """Write a statement once for every lane."""
        assert self.lane is not None
        lane, self.lane = self.lane, None
        for i in range(lane.count):
            number = tirx.IntImm(str(lane.var.ty.dtype), i)
            self._statement(replaced(node, lane.var, number))
        self.lane = lane

    def _store(self, node: Any) -> None:
        memory, index = self.memories[node.buffer], node.indices[0]
        self.written.add(memory.name)
        if self.lane is None:
            self._write(memory, index, self._scalar(node.value))
            return
        base = self._contiguous(index)
        if memory.calculates_in_half:
            self._write_vector(memory, base, self._half_vector(node.value))
            return
        value = self._vector(node.value)
        if memory.dtype == "bool":
            value = f"convert_uchar{self.lane.count}({value} & 1)"
        if base is None:
            self._scatter(memory, index, value)
            return
        self._write_vector(memory, base, value)


_STATEMENTS: dict[type, Callable[[Statements, Any], None]] = {
    tirx.SeqStmt: Statements._sequence,
    tirx.AttrStmt: Statements._attribute,
    tirx.DeclBuffer: Statements._declaration,
    tirx.AllocBuffer: Statements._allocation,
    tirx.stmt.Bind: Statements._binding,
    tirx.Evaluate: Statements._evaluation,
    tirx.For: Statements._loop,
    tirx.IfThenElse: Statements._condition,
    tirx.BufferStore: Statements._store,
}
