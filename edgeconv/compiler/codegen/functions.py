"""Exponential functions in single precision as arithmetic, which vectorises.

Otherwise they are calls of the C library, one for each lane. Infinities and NaN come out as from
the library; errors are below 1 unit in the last place for exp, below 1.4 for tanh and erf.

Arguments are reduced to exp(x) = 2^n * exp(r) with |r| <= log(2) / 2, as usual (Muller, "Elementary
Functions", chapter 11); the polynomials are minimax fits in the range beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

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


def inline_functions(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a function without calls of exp, sigmoid, tanh and erf in single precision."""

    def replace(call: Any) -> Any:
        make = _FUNCTIONS.get(getattr(call.op, "name", ""))
        if make is None or str(call.ty.dtype) != FLOAT:
            return call
        return make(call.args[0])

    return tvm_ffi.structural_map(function, [(tvm.ir.Call, replace)])


def _number(value: float) -> Any:
    return tirx.const(value, FLOAT)


def _let(value: Any, body: Callable[[Any], Any]) -> Any:
    """Return `body` of a variable that holds `value`."""
    variable = tirx.Var("t", str(value.ty.dtype))
    return tirx.Let(variable, value, body(variable))


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    total = _number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + _number(coefficient)
    return total


def _bounded(x: Any, low: float, high: float) -> Any:
    """Return `x` within bounds; NaN stays."""
    least, most = _number(low), _number(high)
    return tirx.Select(x > most, most, tirx.Select(x < least, least, x))


def _reduced(x: Any, body: Callable[[Any, Any], Any]) -> Any:
    """Return body(n, exp(r) - 1) where x = n * log(2) + r, for |x| < 2^21."""

    def rest(shifted: Any) -> Any:
        n = tirx.reinterpret("int32", shifted) - tirx.reinterpret("int32", _number(_ROUNDER))
        whole = shifted - _number(_ROUNDER)
        r = x - whole * _number(_LOG2[0]) - whole * _number(_LOG2[1])
        return _let(r, lambda r: _let(r * r * _polynomial(r, _EXP) + r, lambda p: body(n, p)))

    return _let(x * _number(1.4426950408889634) + _number(_ROUNDER), rest)


def _power_of_two(n: Any) -> Any:
    """Return 2^n for -127 < n < 128."""
    return tirx.reinterpret(FLOAT, tirx.shift_left(n + 127, tirx.const(23, "int32")))


def _exp(value: Any) -> Any:
    def scaled(n: Any, p: Any) -> Any:
        # In two steps, since results may be denormal, and 2^n may be infinite where they are not.
        def twice(half: Any) -> Any:
            return (p + _number(1)) * _power_of_two(half) * _power_of_two(n - half)

        return _let(tirx.shift_right(n, tirx.const(1, "int32")), twice)

    return _let(value, lambda x: _let(_bounded(x, -104, 89), lambda y: _reduced(y, scaled)))


def _small_exp(x: Any) -> Any:
    """Return exp(x) where |x| < 87."""
    return _reduced(x, lambda n, p: _let(_power_of_two(n), lambda scale: p * scale + scale))


def _sigmoid(value: Any) -> Any:
    return _number(1) / (_number(1) + _exp(_number(0) - value))


def _odd(
    value: Any, border: float, small: Callable[[Any], Any], large: Callable[[Any], Any]
) -> Any:
    """Return small(x) where |x| < border, and large(|x|) with the sign of x elsewhere."""

    def function(x: Any) -> Any:
        size = tirx.Select(x < _number(0), _number(0) - x, x)

        def either(size: Any) -> Any:
            far = _let(large(size), lambda y: tirx.Select(x < _number(0), _number(0) - y, y))
            return tirx.Select(size < _number(border), small(x), far)

        return _let(size, either)

    return _let(value, function)


def _tanh(value: Any) -> Any:
    def small(x: Any) -> Any:
        return _let(x * x, lambda z: z * _polynomial(z, _TANH) * x + x)

    def large(size: Any) -> Any:
        # From 20 on the result is 1.
        double = _let(_bounded(size, 0, 20), lambda y: y + y)
        power = _let(double, _small_exp)
        return _number(1) - _number(2) / (power + _number(1))

    return _odd(value, _TANH_SMALL, small, large)


def _erf(value: Any) -> Any:
    def small(x: Any) -> Any:
        return _let(x * x, lambda z: _polynomial(z, _ERF) * x + x)

    def large(size: Any) -> Any:
        logarithm = _let(_bounded(size, 0, _ERF_ONE), lambda y: _polynomial(y, _LOG_ERFC))
        return _number(1) - _let(logarithm, _small_exp)

    return _odd(value, _ERF_SMALL, small, large)


_FUNCTIONS = {
    "tirx.exp": _exp,
    "tirx.sigmoid": _sigmoid,
    "tirx.tanh": _tanh,
    "tirx.erf": _erf,
}
