"""Lowered TIR with thread bindings as text in OpenCL C 1.2.

TVM has a generator of its own, which this project cannot use: it writes seven digits of a
constant, pointers to `bool` (which no kernel may take), comparisons that lose NaN, and breaks
vectorised loops up wherever they call a function. Here a vectorised loop becomes statements on
vectors; what has no vector form (a gather, a condition of its own per lane) is put together lane by
lane.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isinf, isnan, prod
from typing import Any

import numpy as np
import tvm
from tvm import tirx
from tvm.sym.analyzer import Analyzer

from edgeconv.compiler.schedules.common import replaced, uses
from edgeconv.compiler.schedules.gpu.refusal import GpuRefusalError
from edgeconv.plan import NDRange

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
# Stored as such in global memory only, and calculated with as floats: OpenCL C has arithmetic of
# halves as an extension.
HALF = "float16"
_VECTORS = (2, 4, 8, 16)
_LANES = "0123456789abcdef"
_DIMENSIONS = {"x": 0, "y": 1, "z": 2}
_THREADS = {"blockIdx": ("g", "get_group_id"), "threadIdx": ("l", "get_local_id")}
_INFIX = {
    tirx.Add: "+",
    tirx.Sub: "-",
    tirx.Mul: "*",
    tirx.Div: "/",
    tirx.Mod: "%",
    tirx.LT: "<",
    tirx.LE: "<=",
    tirx.GT: ">",
    tirx.GE: ">=",
    tirx.EQ: "==",
    tirx.NE: "!=",
    tirx.LShift: "<<",
    tirx.RShift: ">>",
    tirx.BitwiseAnd: "&",
    tirx.BitwiseOr: "|",
    tirx.BitwiseXor: "^",
}
# Types whose values have 32 bits in registers.
_WIDE = ("bool", "int32", "uint32", HALF, "float32")
_COMPARISONS = (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)
# Functions that OpenCL C has for vectors too, under the names of the C library, which TVM uses.
_BUILTINS = frozenset(
    (
        *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cos"),
        *("cosh", "erf", "exp", "exp10", "exp2", "fabs", "floor", "fmod", "hypot", "isnan"),
        *("log", "log10", "log1p", "log2", "pow", "rint", "round", "rsqrt", "sin", "sinh"),
        *("sqrt", "tan", "tanh", "trunc"),
    )
)
_RENAMED = {"nearbyint": "rint", "likely": ""}
# The second operand wins where it is greater or not a number, the first where it is not a number.
_EXTREMA = {tirx.Max: ("ec_max", ">"), tirx.Min: ("ec_min", "<")}


class _NoVectorError(Exception):
    """An expression or statement has no vector form."""


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
class _Memory:
    """A buffer as the text names it."""

    name: str
    dtype: str
    space: str  # "__global", "__local" or "" for private
    elements: int
    lanes: int = 1  # of the type that a private array is declared with


@dataclass
class _Lane:
    """The innermost vectorised loop: its variable and extent."""

    var: tirx.Var
    count: int


@dataclass
class _Writer:
    scalar: set[str]
    lines: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    helpers: dict[str, str] = field(default_factory=dict)
    names: dict[Any, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    memories: dict[Any, _Memory] = field(default_factory=dict)
    extents: dict[str, int] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    depth: int = 1
    lane: _Lane | None = None
    analyzer: Any = field(default_factory=Analyzer)

    # The kernel as a whole.

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
            x, y, z = (self.extents.get(f"{name}.{axis}", 1) for axis in _DIMENSIONS)
            return x, y, z

        groups, local = sizes("blockIdx"), sizes("threadIdx")
        whole = (groups[0] * local[0], groups[1] * local[1], groups[2] * local[2])
        return NDRange(whole, local)

    def _memory(self, name: str, buffer: Any, space: str) -> _Memory:
        dtype = str(buffer.dtype)
        if dtype not in STORED:
            raise GpuRefusalError(f"OpenCL C 1.2 has no tensors of {dtype}")
        if dtype == HALF and space != "__global":
            dtype = "float32"
        return _Memory(name, dtype, space, prod(int(size) for size in buffer.shape))

    def _name(self, hint: str) -> str:
        stem = re.sub(r"\W", "_", hint)
        name, number = stem, 0
        while name in self.taken or re.fullmatch(r"p\d+", name):
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    # Statements.

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
        if kind not in _THREADS or dimension not in _DIMENSIONS:
            raise GpuRefusalError(f"OpenCL C has no form of a thread axis {tag!r}")
        prefix, function = _THREADS[kind]
        name = f"{prefix}{dimension}"
        if tag not in self.extents:
            self.extents[tag] = extent
            self.taken.add(name)
            self._line(f"const int {name} = {function}({_DIMENSIONS[dimension]});")
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
        self.lane = _Lane(node.loop_var, extent)
        self.analyzer.bind(node.loop_var, tvm.ir.Range(0, extent), allow_override=True)
        try:
            self._statement(node.body)
        except _NoVectorError:
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
        value = self._vector(node.value)
        if memory.dtype == "bool":
            value = f"convert_uchar{self.lane.count}({value} & 1)"
        if base is None:
            self._scatter(memory, index, value)
            return
        place = self._whole(memory, base)
        if place is not None:
            self._line(f"{place} = {value};")
        else:
            store = "vstore_half" if memory.dtype == HALF else "vstore"
            self._line(f"{store}{self.lane.count}({value}, 0, {self._address(memory, base)});")

    def _write(self, memory: _Memory, index: Any, value: str) -> None:
        """Write one element."""
        if memory.dtype == HALF:
            self._line(f"vstore_half({value}, {self._index(index)}, {memory.name});")
            return
        value = f"(uchar)({value})" if memory.dtype == "bool" else value
        self._line(f"{self._element(memory, index)} = {value};")

    def _scatter(self, memory: _Memory, index: Any, value: str) -> None:
        """Write the lanes of a vector one by one."""
        assert self.lane is not None
        if not self._varies(index):
            raise _NoVectorError
        lane, self.lane = self.lane, None
        name = self._name("lanes")
        kind = "float" if memory.dtype == HALF else STORED[memory.dtype]
        self._line(f"const {kind}{lane.count} {name} = {value};")
        for i in range(lane.count):
            self._write(memory, self._at_lane(index, lane, i), f"{name}.s{_LANES[i]}")
        self.lane = lane

    # Memory.

    def _at_lane(self, node: Any, lane: _Lane, i: int) -> Any:
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

    def _address(self, memory: _Memory, index: Any) -> str:
        return f"{memory.name} + {self._index(index)}"

    def _index(self, index: Any) -> str:
        """Write an index, of scalars."""
        lane, self.lane = self.lane, None
        text = self._scalar(index)
        self.lane = lane
        return text

    def _element(self, memory: _Memory, index: Any) -> str:
        """Return the text of one element, which can be read and written."""
        if memory.lanes == 1:
            return f"{memory.name}[{self._index(index)}]"
        place = self.analyzer.simplify(index)
        if not isinstance(place, tirx.IntImm):
            self.scalar.add(memory.name)
            return memory.name
        vector, lane = divmod(place.value, memory.lanes)
        return f"{memory.name}[{vector}].s{_LANES[lane]}"

    def _whole(self, memory: _Memory, base: Any) -> str | None:
        """Return the text of the vector from `base` on; None where it takes a call."""
        assert self.lane is not None
        count = self.lane.count
        if memory.lanes > 1:
            if count != memory.lanes or not self._is_aligned(base, count):
                self.scalar.add(memory.name)
            return f"{memory.name}[{self._index(self._divided(base, count))}]"
        if not memory.space or memory.dtype == HALF or not self._is_aligned(base, count):
            return None
        constant = "" if memory.name in self.written else "const "
        kind = f"{memory.space} {constant}{STORED[memory.dtype]}{count} *"
        return f"*({kind})({self._address(memory, base)})"

    def _divided(self, index: Any, by: int) -> Any:
        return self.analyzer.simplify(tirx.floordiv(index, by))

    # Expressions.

    def _varies(self, node: Any) -> bool:
        """Whether lanes differ in `node`."""
        if self.lane is None:
            return False
        return uses(node, self.lane.var)

    def _type(self, node: Any) -> str:
        dtype = str(node.ty.dtype)
        if dtype not in STORED:
            raise GpuRefusalError(f"OpenCL C 1.2 has no values of {dtype}")
        return {"bool": "int", HALF: "float"}.get(dtype, STORED[dtype])

    def _scalar(self, node: Any) -> str:
        """Return the text of an expression of one value."""
        visit = _EXPRESSIONS.get(type(node))
        if visit is None:
            raise GpuRefusalError(f"OpenCL C has no form of a {type(node).__name__} expression")
        return visit(self, node, self._scalar)

    def _vector(self, node: Any) -> str:
        """Return the text of an expression as a vector of all lanes."""
        assert self.lane is not None
        if not self._varies(node):
            kind = self._type(node)
            value = self._scalar(node)
            # True is -1 in vectors.
            value = f"-({value})" if str(node.ty.dtype) == "bool" else value
            return f"({kind}{self.lane.count})({value})"
        if node.same_as(self.lane.var):
            return f"(int{self.lane.count})({', '.join(map(str, range(self.lane.count)))})"
        written = len(self.lines)
        try:
            visit = _EXPRESSIONS.get(type(node))
            if visit is None:
                raise _NoVectorError
            return visit(self, node, self._vector)
        except _NoVectorError:
            del self.lines[written:]
            return self._lane_by_lane(node)

    def _lane_by_lane(self, node: Any) -> str:
        assert self.lane is not None
        lane, self.lane = self.lane, None
        parts = [self._scalar(self._at_lane(node, lane, i)) for i in range(lane.count)]
        self.lane = lane
        sign = "-" if str(node.ty.dtype) == "bool" else ""
        values = ", ".join(f"{sign}({part})" if sign else part for part in parts)
        return f"({self._type(node)}{lane.count})({values})"

    def _is_vector(self, visit: Callable[[Any], str]) -> bool:
        return visit == self._vector

    def _variable(self, node: Any, visit: Callable[[Any], str]) -> str:
        return self.names[node]

    def _integer(self, node: Any, visit: Callable[[Any], str]) -> str:
        dtype, value = str(node.ty.dtype), int(node.value)
        if dtype == "bool":
            return str(int(value != 0))
        suffix = {"uint32": "u", "int64": "L", "uint64": "UL"}.get(dtype, "")
        if value in (-(2**31), -(2**63)):
            return f"({value + 1}{suffix} - 1)"
        text = f"{value}{suffix}"
        return f"({text})" if value < 0 else text

    def _float(self, node: Any, visit: Callable[[Any], str]) -> str:
        self._type(node)
        value = float(np.float32(node.value))
        if isnan(value):
            return "NAN"
        if isinf(value):
            return "INFINITY" if value > 0 else "(-INFINITY)"
        text = f"{np.float32(value)!s}"
        text = f"{text if '.' in text or 'e' in text else text + '.0'}f"
        return f"({text})" if text.startswith("-") else text

    def _infix(self, node: Any, visit: Callable[[Any], str]) -> str:
        if isinstance(node, tirx.Mod) and str(node.ty.dtype).startswith("float"):
            return f"fmod({visit(node.a)}, {visit(node.b)})"
        operator = _INFIX[type(node)]
        text = f"({visit(node.a)} {operator} {visit(node.b)})"
        compares = isinstance(node, _COMPARISONS)
        if compares and self._is_vector(visit):
            return self._mask(text, str(node.a.ty.dtype))
        return text

    def _mask(self, text: str, dtype: str) -> str:
        """Return a vector of truth values, which are as wide as what was compared, in 32 bits."""
        assert self.lane is not None
        wide = dtype in _WIDE
        return text if wide else f"convert_int{self.lane.count}({text})"

    def _logical(self, node: Any, visit: Callable[[Any], str]) -> str:
        operator = "&" if isinstance(node, tirx.And) else "|"
        operator = operator if self._is_vector(visit) else operator * 2
        return f"({visit(node.a)} {operator} {visit(node.b)})"

    def _negation(self, node: Any, visit: Callable[[Any], str]) -> str:
        return f"({'~' if self._is_vector(visit) else '!'}{visit(node.a)})"

    def _complement(self, node: Any, visit: Callable[[Any], str]) -> str:
        return f"(~{visit(node.a)})"

    def _extremum(self, node: Any, visit: Callable[[Any], str]) -> str:
        first, second = node.a, node.b
        name, operator = _EXTREMA[type(node)]
        if isinstance(first, (tirx.FloatImm, tirx.IntImm)):
            first, second = second, first
        lanes = str(self.lane.count) if self.lane and self._is_vector(visit) else ""
        if not str(node.ty.dtype).startswith("float"):
            kind = f"({self._type(node)}{lanes})"
            return f"{name.removeprefix('ec_')}({kind}{visit(first)}, {kind}{visit(second)})"
        kind = f"float{lanes}"
        name = f"{name}_{kind}"
        either = "|" if lanes else "||"
        self.helpers[name] = (
            f"#ifndef {name.upper()}\n#define {name.upper()}\n"
            f"inline {kind} {name}({kind} a, {kind} b)\n{{\n"
            f"    return ((b {operator} a) {either} (b != b)) ? b : a;\n}}\n#endif\n"
        )
        return f"{name}({visit(first)}, {visit(second)})"

    def _cast(self, node: Any, visit: Callable[[Any], str]) -> str:
        source, target = str(node.value.ty.dtype), str(node.ty.dtype)
        value = visit(node.value)
        if source == target or {source, target} == {HALF, "float32"}:
            return value
        lanes = str(self.lane.count) if self.lane and self._is_vector(visit) else ""
        if target == "bool":
            return self._mask(f"({value} != 0)", source) if lanes else f"({value} != 0)"
        if source == "bool" and lanes:
            value = f"({value} & 1)"
        return f"convert_{self._type(node)}{lanes}({value})"

    def _choice(self, node: Any, visit: Callable[[Any], str]) -> str:
        """Select(condition, a, b), whose operands may all be computed."""
        return self._chosen((node.condition, node.true_value, node.false_value), visit, lazy=False)

    def _chosen(self, parts: Sequence[Any], visit: Callable[[Any], str], *, lazy: bool) -> str:
        condition, *values = parts
        first, second = map(visit, values)
        if not self._varies(condition):
            return f"({self._scalar(condition)} ? {first} : {second})"
        if lazy:
            raise _NoVectorError
        assert self.lane is not None
        mask = self._vector(condition)
        dtype = str(values[0].ty.dtype)
        if dtype not in _WIDE:
            signed = STORED[dtype].removeprefix("u")
            mask = f"convert_{signed}{self.lane.count}({mask})"
        return f"({mask} ? {first} : {second})"

    def _load(self, node: Any, visit: Callable[[Any], str]) -> str:
        memory, index = self.memories[node.source], node.indices[0]
        if not self._is_vector(visit):
            if memory.dtype == HALF:
                return f"vload_half({self._index(index)}, {memory.name})"
            text = self._element(memory, index)
            return f"({text} != 0)" if memory.dtype == "bool" else text
        base = self._contiguous(index)
        if base is None:
            raise _NoVectorError
        assert self.lane is not None
        load = "vload_half" if memory.dtype == HALF else "vload"
        text = self._whole(memory, base) or (
            f"{load}{self.lane.count}(0, {self._address(memory, base)})"
        )
        return f"(convert_int{self.lane.count}({text}) != 0)" if memory.dtype == "bool" else text

    def _call(self, node: Any, visit: Callable[[Any], str]) -> str:
        name = str(node.op.name).rpartition(".")[2]
        arguments = list(node.args)
        if name == "if_then_else":
            return self._chosen(arguments, visit, lazy=True)
        if name == "reinterpret":
            lanes = str(self.lane.count) if self.lane and self._is_vector(visit) else ""
            return f"as_{self._type(node)}{lanes}({visit(arguments[0])})"
        if name == "call_pure_extern":
            name, arguments = str(arguments[0].value), arguments[1:]
        name = name if name in _BUILTINS else name.removesuffix("f")
        if name not in _BUILTINS and name not in _RENAMED:
            raise GpuRefusalError(f"OpenCL C has no function {name!r}")
        return f"{_RENAMED.get(name, name)}({', '.join(map(visit, arguments))})"


_STATEMENTS: dict[type, Callable[[_Writer, Any], None]] = {
    tirx.SeqStmt: _Writer._sequence,
    tirx.AttrStmt: _Writer._attribute,
    tirx.DeclBuffer: _Writer._declaration,
    tirx.AllocBuffer: _Writer._allocation,
    tirx.stmt.Bind: _Writer._binding,
    tirx.Evaluate: _Writer._evaluation,
    tirx.For: _Writer._loop,
    tirx.IfThenElse: _Writer._condition,
    tirx.BufferStore: _Writer._store,
}
_Visit = Callable[[_Writer, Any, Callable[[Any], str]], str]
_EXPRESSIONS: dict[type, _Visit] = {
    tirx.Var: _Writer._variable,
    tirx.IntImm: _Writer._integer,
    tirx.FloatImm: _Writer._float,
    **dict.fromkeys(_INFIX, _Writer._infix),
    tirx.And: _Writer._logical,
    tirx.Or: _Writer._logical,
    tirx.Not: _Writer._negation,
    tirx.BitwiseNot: _Writer._complement,
    tirx.Max: _Writer._extremum,
    tirx.Min: _Writer._extremum,
    tirx.Cast: _Writer._cast,
    tirx.Select: _Writer._choice,
    tvm.ir.expr.TensorLoad: _Writer._load,
    tvm.ir.Call: _Writer._call,
}
