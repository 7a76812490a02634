"""Converters of element-wise operators that Relax has no operator for, or a wrong one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx

from edgeconv.compiler.compute.broadcast import broadcast
from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node

# (node, value of each input) to the value of the output.
Element = Callable[..., Any]


def _bits(dtype: str) -> int:
    return int(dtype.lstrip("uint"))


def _as_unsigned(value: Any) -> Any:
    dtype = str(value.ty.dtype)
    return value.astype(f"uint{_bits(dtype)}") if dtype.startswith("int") else value


def _bit_shift(node: Node, value: Any, amount: Any) -> Any:
    """Shift by any amount: one outside the width shifts every bit out."""
    dtype = str(value.ty.dtype)
    signed, zero = dtype.startswith("int"), tirx.const(0, dtype)
    distance = amount.astype("int64")
    inside = tirx.all(distance >= 0, distance < _bits(dtype))
    safe = tirx.Select(inside, amount, zero)
    if node.text("direction", "") == "RIGHT":
        shifted = value >> safe
        empty = tirx.Select(value < zero, tirx.const(-1, dtype), zero) if signed else zero
    else:
        shifted = (_as_unsigned(value) << _as_unsigned(safe)).astype(dtype)
        empty = zero
    return tirx.Select(inside, shifted, empty)


def _bit_cast(node: Node, value: Any) -> Any:
    """The same bits as another type of that width; a bool is a byte that is 0 or 1."""
    dtype = node.dtypes[node.outputs[0]]
    if "bool" in (dtype, str(value.ty.dtype)):
        return value.astype(dtype)
    return tirx.reinterpret(dtype, value)


def _is_inf(node: Node, value: Any) -> Any:
    bounds = []
    if node.attributes.get("detect_positive", 1):
        bounds.append(value == tirx.const(float("inf"), value.ty.dtype))
    if node.attributes.get("detect_negative", 1):
        bounds.append(value == tirx.const(float("-inf"), value.ty.dtype))
    return functools.reduce(tirx.Or, bounds, tirx.const(False, "bool"))


def _mod(node: Node, value: Any, divisor: Any) -> Any:
    """C's remainder with fmod=1, and otherwise one with the sign of the divisor (Python's)."""
    dtype = str(value.ty.dtype)
    if not dtype.startswith("float"):
        truncated = node.attributes.get("fmod", 0)
        return (tirx.truncmod if truncated else tirx.floormod)(value, divisor)
    rest = tirx.truncmod(value, divisor)
    if not node.attributes.get("fmod", 0):
        zero = tirx.const(0, dtype)
        signed_zero = tirx.copysign(zero, divisor)
        other_sign = tirx.Or(
            tirx.And(rest < zero, divisor > zero), tirx.And(rest > zero, divisor < zero)
        )
        rest = tirx.Select(other_sign, rest + divisor, rest)
        rest = tirx.Select(rest == zero, signed_zero, rest)
    return rest


def _power(node: Node, base: Any, exponent: Any) -> Any:
    """A power in the type of `base`; integers by way of double precision."""
    dtype, other = str(base.ty.dtype), str(exponent.ty.dtype)
    if dtype.startswith("float") or other.startswith("float"):
        wide = "float64" if "float64" in (dtype, other) or "int" in dtype else "float32"
        return tirx.pow(base.astype(wide), exponent.astype(wide)).astype(dtype)
    return tirx.nearbyint(tirx.pow(base.astype("float64"), exponent.astype("float64"))).astype(
        dtype
    )


def _mish(node: Node, value: Any) -> Any:
    """x * tanh(log(1 + exp(x))), without cancellation: tanh is n / (n + 2), n = e^2 + 2e."""
    limit, two = (tirx.const(number, value.ty.dtype) for number in (20, 2))
    power = tirx.exp(te.min(value, limit))
    n = power * (power + two)
    return tirx.Select(value > limit, value, value * (n / (n + two)))


def _softplus(node: Node, value: Any) -> Any:
    """max(x, 0) + log(1 + exp(-|x|)), exact to the last digits on both sides."""
    tail = tirx.log1p(tirx.exp(-tirx.abs(value)))
    return te.max(value, tirx.const(0, value.ty.dtype)) + tail


def _cosh(value: Any) -> Any:
    """Halved before it can overflow."""
    log_two = tirx.const(math.log(2), value.ty.dtype)
    return tirx.exp(value - log_two) + tirx.exp(-value - log_two)


def _sinh(value: Any) -> Any:
    """By its series near zero, where the difference of exponentials loses all digits."""
    one = tirx.const(1, value.ty.dtype)
    series = one
    for denominator in (210, 156, 110, 72, 42, 20, 6):
        series = one + value * value * series * tirx.const(1 / denominator, value.ty.dtype)
    log_two = tirx.const(math.log(2), value.ty.dtype)
    difference = tirx.exp(value - log_two) - tirx.exp(-value - log_two)
    near = tirx.abs(value) < tirx.const(0.5, value.ty.dtype)
    return tirx.Select(near, value * series, difference)


def _function(function: Callable[..., Any]) -> Element:
    return lambda node, *values: function(*values)


def _converter(name: str, element: Element) -> Converter:
    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
        shape = node.shapes[node.outputs[0]]
        values = [argument for argument in arguments if argument is not None]
        return builder.call_te(
            lambda *tensors: broadcast(tensors, functools.partial(element, node), shape),
            *values,
            primfunc_name_hint=name,
        )

    return Converter(convert)


def _refuse_power(node: Node) -> str | None:
    exponent = node.constant(1)
    squares = exponent is not None and exponent.size == 1 and exponent.item() == 2
    wide = node.dtype() in ("int64", "uint64") and not squares
    return "powers of 64-bit integers beyond the square" if wide else None


def _convert_power(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """Squares and powers in one floating point type stay Relax operators, which fit any layout."""
    exponent = node.constant(1)
    same_shape = node.shape(0) == node.shapes[node.outputs[0]]
    if same_shape and exponent is not None and exponent.size == 1 and exponent.item() == 2:
        return relax.op.multiply(arguments[0], arguments[0])
    if node.dtype(0) == node.dtype(1) in ("float32", "float64"):
        return relax.op.power(arguments[0], arguments[1])
    return _POWER.convert(builder, node, arguments)


def _convert_cast_like(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    return relax.op.astype(arguments[0], node.dtypes[node.outputs[0]])


_POWER = _converter("pow", _power)
CONVERTERS = {
    "Acosh": _converter("acosh", _function(tirx.acosh)),
    "Asinh": _converter("asinh", _function(tirx.asinh)),
    "Atanh": _converter("atanh", _function(tirx.atanh)),
    "BitCast": _converter("bit_cast", _bit_cast),
    "BitShift": _converter("bit_shift", _bit_shift),
    "BitwiseAnd": _converter("bitwise_and", _function(lambda a, b: a & b)),
    "BitwiseNot": _converter("bitwise_not", _function(lambda a: ~a)),
    "BitwiseOr": _converter("bitwise_or", _function(lambda a, b: a | b)),
    "BitwiseXor": _converter("bitwise_xor", _function(lambda a, b: a ^ b)),
    "CastLike": Converter(_convert_cast_like),
    "Cosh": _converter("cosh", _function(_cosh)),
    "IsInf": _converter("is_inf", _is_inf),
    "Mish": _converter("mish", _mish),
    "Mod": _converter("mod", _mod),
    "Pow": Converter(_convert_power, _refuse_power),
    "Softplus": _converter("softplus", _softplus),
    "Sinh": _converter("sinh", _function(_sinh)),
}
