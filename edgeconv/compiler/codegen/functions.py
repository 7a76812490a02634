"""Exponential functions in single precision as arithmetic on vectors.

Otherwise they are calls of the C library, one for each lane. Infinities and NaN come out as from
the library; errors are below 1 unit in the last place for exp, below 1.4 for tanh and erf.

Arguments are reduced to exp(x) = 2^n * exp(r) with |r| <= log(2) / 2, as usual (Muller, "Elementary
Functions", chapter 11); the polynomials are minimax fits in the range beside them.

Intermediate results are stores to local buffers, registers in the end. TVM's analyser would write
the value of a `Let` in place of each use, and the terms grow exponentially: a GELU took seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from edgeconv.compiler.compute.softmax import EXP_AT_MOST_ONE

FLOAT = "float32"
# (exp(r) - 1 - r) / r^2 where |r| <= log(2) / 2.
_EXP = (0.49999994, 0.16666515, 0.041668456, 0.008369419, 0.0013813142)
# (tanh(x) / x - 1) / x^2 in x^2, where |x| < _TANH_SMALL.
_TANH = (-0.33333296, 0.13331857, -0.053776998, 0.02076954, -0.005860759)
_TANH_SMALL = 0.6
# erf(x) / x - 1 in x^2, where |x| < _ERF_SMALL; and log(erfc(x)) up to where erf is 1.
_ERF = (0.12837915, -0.37612492, 0.11281786, -0.026764954, 0.00499006, -0.00059721805)
_ERF_SMALL = 0.921875
_LOG_ERFC = (
    *(-0.00018238182, -1.1277292, -0.63709426, -0.104006916),
    *(0.022262335, -0.003051889, 0.00019680099),
)
_ERF_ONE = 4.0
# Adding it rounds to an integer, which then stands in the low bits.
_ROUNDER = 1.5 * 2**23
# log(2) in two parts; products of the first with n are exact.
_LOG2 = (0.693145751953125, 1.428606765330187e-06)


# Names a value that is used more than once.
Keep = Callable[[Any], Any]


def inline_functions(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a vectorised function without calls of exp, sigmoid, tanh and erf on float32."""
    inlining = _Inlining()
    return tvm_ffi.structural_mutate(
        function, [(tirx.BufferStore, inlining.store), (tvm.ir.Call, inlining.call)]
    )


class _Inlining:
    """Replaces calls in stored values, and puts the statements that this takes before the store."""

    def __init__(self) -> None:
        self._statements: list[Any] = []
        self._conditions: list[Any] = []

    def store(self, statement: Any, mutator: Any) -> Any:
        value = mutator.mutate(statement.value)
        if not self._statements:
            return statement
        before, self._statements = self._statements, []
        store = tirx.BufferStore(statement.buffer, value, statement.indices)
        return tirx.SeqStmt([*before, store])

    def call(self, call: Any, mutator: Any) -> Any:
        name = getattr(call.op, "name", "")
        if name == "prim.if_then_else":
            return self._conditional(call, mutator)
        make = _FUNCTIONS.get(name)
        if make is None or not str(call.ty.dtype).startswith(FLOAT):
            return mutator.default_mutate(call)
        argument = mutator.mutate(call.args[0])
        for condition in reversed(self._conditions):
            # What a branch loads may lie outside of a buffer where the branch is not taken.
            argument = tirx.if_then_else(condition, argument, tirx.const(0, call.ty.dtype))
        return make(argument, self._keep)

    def _conditional(self, call: Any, mutator: Any) -> Any:
        condition, *branches = call.args
        results = []
        for branch, taken in zip(branches, (condition, tirx.Not(condition)), strict=True):
            self._conditions.append(taken)
            results.append(mutator.mutate(branch))
            self._conditions.pop()
        return tirx.if_then_else(condition, *results)

    def _keep(self, value: Any) -> Any:
        register = tirx.decl_buffer((1,), str(value.ty.dtype), "t", scope="local")
        self._statements += [tirx.AllocBuffer(register), tirx.BufferStore(register, value, [0])]
        return register[0]


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _where(condition: Any, yes: Any, no: Any) -> Any:
    """Return `yes` or `no`, one of which may be a number."""
    dtype = (no if isinstance(yes, float) else yes).ty.dtype
    either = (tirx.const(x, dtype) if isinstance(x, float) else x for x in (yes, no))
    return tirx.Select(condition, *either)


def _bounded(x: Any, low: float, high: float) -> Any:
    """Return `x` within bounds; NaN stays."""
    return _where(x > high, high, _where(x < low, low, x))


def _bits(x: Any) -> Any:
    return tirx.reinterpret(str(x.ty.dtype).replace(FLOAT, "int32"), x)


def _reduced(x: Any, keep: Keep) -> tuple[Any, Any]:
    """Return n and exp(r) - 1 where x = n * log(2) + r, for |x| < 2^21."""
    shifted = keep(x * 1.4426950408889634 + _ROUNDER)
    n = _bits(shifted) - _bits(tirx.const(_ROUNDER, x.ty.dtype))
    whole = shifted - _ROUNDER
    r = keep(x - whole * _LOG2[0] - whole * _LOG2[1])
    return n, keep(r * r * _polynomial(r, _EXP) + r)


def _power_of_two(n: Any) -> Any:
    """Return 2^n for -127 < n < 128, 0 for -127."""
    shifted = tirx.shift_left(n + 127, tirx.const(23, n.ty.dtype))
    return tirx.reinterpret(str(n.ty.dtype).replace("int32", FLOAT), shifted)


def _exp(value: Any, keep: Keep) -> Any:
    n, p = _reduced(keep(_bounded(keep(value), -104.0, 89.0)), keep)
    # In two steps, since results may be denormal, and 2^n may be infinite where they are not.
    half = keep(tirx.shift_right(n, tirx.const(1, n.ty.dtype)))
    return (p + 1.0) * _power_of_two(half) * _power_of_two(n - half)


def _small_exp(x: Any, keep: Keep) -> Any:
    """Return exp(x) where -88 <= x < 88, 0 where that is below -87.7."""
    n, p = _reduced(x, keep)
    scale = keep(_power_of_two(n))
    return p * scale + scale


def _exp_at_most_one(value: Any, keep: Keep) -> Any:
    """Return exp(x) where x is 0 at most, or NaN; 0 where x < -87.7."""
    x = keep(value)
    # There n is -127.
    return _small_exp(keep(_where(x < -88.0, -88.0, x)), keep)


def _sigmoid(value: Any, keep: Keep) -> Any:
    return 1.0 / (1.0 + _exp(0.0 - value, keep))


def _size(x: Any) -> Any:
    return _where(x < 0.0, 0.0 - x, x)


def _with_sign(size: Any, x: Any) -> Any:
    return _where(x < 0.0, 0.0 - size, size)


def _tanh(value: Any, keep: Keep) -> Any:
    x = keep(value)
    size, square = keep(_size(x)), keep(x * x)
    small = square * _polynomial(square, _TANH) * x + x
    # From 20 on the result is 1.
    bounded = keep(_bounded(size, 0.0, 20.0))
    power = _small_exp(keep(bounded + bounded), keep)
    large = keep(1.0 - 2.0 / (power + 1.0))
    return _where(size < _TANH_SMALL, small, _with_sign(large, x))


def _erf(value: Any, keep: Keep) -> Any:
    x = keep(value)
    size, square = keep(_size(x)), keep(x * x)
    small = _polynomial(square, _ERF) * x + x
    logarithm = keep(_polynomial(keep(_bounded(size, 0.0, _ERF_ONE)), _LOG_ERFC))
    large = keep(1.0 - _small_exp(logarithm, keep))
    return _where(size < _ERF_SMALL, small, _with_sign(large, x))


_FUNCTIONS: dict[str, Callable[[Any, Keep], Any]] = {
    "tirx.exp": _exp,
    EXP_AT_MOST_ONE: _exp_at_most_one,
    "tirx.sigmoid": _sigmoid,
    "tirx.tanh": _tanh,
    "tirx.erf": _erf,
}
# TVM vectorises the others by itself.
tvm.ir.register_op_attr("tirx.erf", "TVectorizable", True)
