"""Converters of QuantizeLinear and DequantizeLinear, to and from 8- and 16-bit integers."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _parameter(tensor: te.Tensor, node: Node, index: tuple[tirx.Var, ...]) -> Any:
    """Return the scale or zero point that belongs to a position: of all, an axis, or a block."""
    rank = len(tensor.shape)
    if rank == 0:
        return tensor()
    axis = node.attributes.get("axis", 1) % len(index) if len(index) > 1 else 0
    if rank == 1 and int(tensor.shape[0]) == 1:
        return tensor(0)
    block = node.attributes.get("block_size", 0)
    if not block:
        return tensor(index[axis])
    return tensor(*(i // block if n == axis else i for n, i in enumerate(index)))


def _convert_quantize(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """saturate(round_half_to_even(x / scale) + zero_point)."""
    dtype = node.dtypes[node.outputs[0]]

    def quantize(data: te.Tensor, scale: te.Tensor, *zero_point: te.Tensor) -> te.Tensor:
        def element(*index: tirx.Var) -> Any:
            quotient = data(*index) / _parameter(scale, node, index).astype(data.dtype)
            rounded = tirx.nearbyint(quotient.astype("float32"))
            if zero_point:
                rounded = rounded + _parameter(zero_point[0], node, index).astype("float32")
            # Limits of 8 and 16 bits are exact in single precision.
            low, high = (
                tirx.const(float(bound(dtype).value), "float32")
                for bound in (tirx.min_value, tirx.max_value)
            )
            return te.max(te.min(rounded, high), low).astype(dtype)

        return te.compute(data.shape, element, name="quantize")

    values = [argument for argument in arguments if argument is not None]
    return builder.call_te(quantize, *values, primfunc_name_hint="quantize")


def _convert_dequantize(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """(x - zero_point) * scale."""
    dtype = node.dtypes[node.outputs[0]]

    def dequantize(data: te.Tensor, scale: te.Tensor, *zero_point: te.Tensor) -> te.Tensor:
        def element(*index: tirx.Var) -> Any:
            value = data(*index).astype("int32")
            if zero_point:
                value = value - _parameter(zero_point[0], node, index).astype("int32")
            factor = _parameter(scale, node, index).astype("float32")
            return (value.astype("float32") * factor).astype(dtype)

        return te.compute(data.shape, element, name="dequantize")

    values = [argument for argument in arguments if argument is not None]
    return builder.call_te(dequantize, *values, primfunc_name_hint="dequantize")


CONVERTERS = {
    "DequantizeLinear": Converter(_convert_dequantize),
    "QuantizeLinear": Converter(_convert_quantize),
}
