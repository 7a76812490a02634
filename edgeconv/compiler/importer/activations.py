"""Converters of activations and bounds, by Relax operators, which follow their input's layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _number(node: Node, value: float) -> relax.Expr:
    """Return a scalar in the type of the node's first input."""
    return relax.const(np.array(value, node.dtype()), node.dtype())


def _convert_clip(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """min(max(x, low), high), so that the upper bound wins where they cross."""
    low, high = node.constant(1), node.constant(2)
    if low is not None and high is not None and node.dtype().startswith("float") and low <= high:
        return relax.op.clip(arguments[0], float(low.item()), float(high.item()))
    result = arguments[0]
    for index, bound in ((1, relax.op.maximum), (2, relax.op.minimum)):
        if node.has_input(index):
            result = builder.emit(bound(result, arguments[index]))
    return result


def _convert_hard_swish(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """x * clip(x / 6 + 1/2, 0, 1)."""
    return relax.op.multiply(
        arguments[0], builder.emit(_hard_sigmoid(builder, node, arguments[0], 1.0 / 6.0, 0.5))
    )


def _hard_sigmoid(
    builder: relax.BlockBuilder, node: Node, data: Any, alpha: float, beta: float
) -> relax.Expr:
    scaled = builder.emit(relax.op.multiply(data, _number(node, alpha)))
    return relax.op.clip(builder.emit(relax.op.add(scaled, _number(node, beta))), 0.0, 1.0)


def _convert_hard_sigmoid(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    alpha, beta = node.attributes.get("alpha", np.float32(0.2)), node.attributes.get("beta", 0.5)
    return _hard_sigmoid(builder, node, arguments[0], alpha, beta)


def _exponential(
    builder: relax.BlockBuilder,
    node: Node,
    data: Any,
    *,
    alpha: float,
    beta: float = 1.0,
    scale: float = 1.0,
) -> relax.Expr:
    """scale * (max(x, 0) + alpha * (exp(min(x, 0) / beta) - 1))."""
    zero = _number(node, 0.0)
    negative = builder.emit(relax.op.minimum(data, zero))
    power = builder.emit(
        relax.op.exp(builder.emit(relax.op.multiply(negative, _number(node, 1 / beta))))
    )
    below = builder.emit(relax.op.subtract(power, _number(node, 1.0)))
    below = builder.emit(relax.op.multiply(below, _number(node, alpha * scale)))
    above = builder.emit(relax.op.maximum(data, zero))
    if scale != 1.0:
        above = builder.emit(relax.op.multiply(above, _number(node, scale)))
    return relax.op.add(above, below)


def _convert_elu(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    alpha = node.attributes.get("alpha", 1.0)
    return _exponential(builder, node, arguments[0], alpha=alpha)


def _convert_celu(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    alpha = node.attributes.get("alpha", 1.0)
    return _exponential(builder, node, arguments[0], alpha=alpha, beta=alpha)


def _convert_selu(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    alpha = node.attributes.get("alpha", np.float32(1.6732632))
    gamma = node.attributes.get("gamma", np.float32(1.0507010))
    return _exponential(builder, node, arguments[0], alpha=alpha, scale=gamma)


def _chain(operator: Callable[..., Any]) -> Converter:
    """Apply a Relax operator of two operands to any number of inputs, which may broadcast."""

    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
        result, *rest = arguments
        for argument in rest:
            result = builder.emit(operator(result, argument))
        return result

    return Converter(convert)


CONVERTERS = {
    "Celu": Converter(_convert_celu),
    "Clip": Converter(_convert_clip),
    "Elu": Converter(_convert_elu),
    "HardSigmoid": Converter(_convert_hard_sigmoid),
    "HardSwish": Converter(_convert_hard_swish),
    "Max": _chain(relax.op.maximum),
    "Min": _chain(relax.op.minimum),
    "Selu": Converter(_convert_selu),
    "Sum": _chain(relax.op.add),
}
