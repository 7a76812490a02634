"""Expressions of TIR in OpenCL C, of one value or of a vector of all lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isinf, isnan
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from edgeconv.compiler.codegen.opencl_c.access import Access
from edgeconv.compiler.codegen.opencl_c.types import HALF, STORED, NoVectorError
from edgeconv.compiler.schedules.gpu.refusal import GpuRefusalError

INFIX = {
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


@dataclass
class Expressions(Access):
    """Writes expressions; `helpers` are the functions that they call, by name."""

    helpers: dict[str, str] = field(default_factory=dict)

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
                raise NoVectorError
            return visit(self, node, self._vector)
        except NoVectorError:
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
        operator = INFIX[type(node)]
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
            raise NoVectorError
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
            return self._read(memory, index)
        base = self._contiguous(index)
        if base is None:
            raise NoVectorError
        return self._read_vector(memory, base)

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


_Visit = Callable[[Expressions, Any, Callable[[Any], str]], str]
_EXPRESSIONS: dict[type, _Visit] = {
    tirx.Var: Expressions._variable,
    tirx.IntImm: Expressions._integer,
    tirx.FloatImm: Expressions._float,
    **dict.fromkeys(INFIX, Expressions._infix),
    tirx.And: Expressions._logical,
    tirx.Or: Expressions._logical,
    tirx.Not: Expressions._negation,
    tirx.BitwiseNot: Expressions._complement,
    tirx.Max: Expressions._extremum,
    tirx.Min: Expressions._extremum,
    tirx.Cast: Expressions._cast,
    tirx.Select: Expressions._choice,
    tvm.ir.expr.TensorLoad: Expressions._load,
    tvm.ir.Call: Expressions._call,
}
