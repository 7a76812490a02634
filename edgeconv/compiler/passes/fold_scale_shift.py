"""Folds constant scales and shifts per channel (batch norm) into the convolution before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.mixture import read_mixture
from edgeconv.compiler.passes.rewriting import (
    bindings_of,
    constant_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
    uses_of,
)

CONVOLUTIONS = ("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")
Array = npt.NDArray[np.float64]


def fold_scale_shift(graph: Graph) -> Graph:
    """Turn conv, *, +, ... with constants per channel into one convolution and one add.

    The products are formed in double precision. Weights that are mixed at run time get one more
    factor, which comes to the constants that they are mixed out of. Layers of the folded bindings
    move to the add.
    """
    bindings = bindings_of(graph.main)
    uses = uses_of(graph.main)
    definitions = {var.name: value for var, value in bindings}
    folded: dict[str, _Folded] = {}
    for var, value in bindings:
        link = _start(value, definitions) or _fold_one(value, uses, folded)
        if link is not None:
            folded[var.name] = link
    # A link is emitted only where its chain ends.
    inner = {name for chain in folded.values() for name in chain.members}
    layers = dict(graph.layers)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            if isinstance(expression, relax.Var):
                return new.get(expression.name, expression)
            return expression

        for var, value in bindings:
            if var.name in inner or isinstance(value, relax.Tuple):
                continue
            chain = folded.get(var.name)
            if chain is None:
                new[var.name] = builder.emit(substitute(value, current), var.name)
                continue
            new[var.name] = chain.emit(builder, var.name, current)
            layers[var.name] = tuple(
                dict.fromkeys(
                    layer
                    for name in (*chain.members, var.name)
                    for layer in graph.layers.get(name, ())
                )
            )
            layers[_product(var.name)] = layers[var.name]
        return [current(output) for output in output_tuple(graph.main)]

    return replace(graph, module=rebuild(graph.module, body), layers=layers)


class _Folded:
    """A convolution whose outputs are scaled, by channel (None: by 1), and shifted."""

    def __init__(
        self, call: tvm.ir.Call, scale: Array | None, bias: Array | None, members: tuple[str, ...]
    ) -> None:
        self.call = call
        self.scale = scale
        self.bias = bias
        self.members = members

    def emit(
        self, builder: relax.BlockBuilder, name: str, current: Callable[[relax.Expr], relax.Expr]
    ) -> relax.Expr:
        data, weight = self.call.args
        rank = len(shape_of(weight))
        if self.scale is not None:
            weight = self._scaled(builder, weight, current)
        call = tvm.ir.Call(self.call.op, [current(data), current(weight)], self.call.attrs)
        if self.bias is None:
            return builder.emit(call, name)
        product = builder.emit(call, _product(name))
        shape = (1, -1, *(1,) * (rank - 2))
        bias = relax.const(self.bias.reshape(shape).astype(np.float32), "float32")
        return builder.emit(relax.op.add(product, bias), name)

    def _scaled(
        self,
        builder: relax.BlockBuilder,
        weight: relax.Expr,
        current: Callable[[relax.Expr], relax.Expr],
    ) -> relax.Expr:
        assert self.scale is not None
        scale = self.scale.reshape(-1, *(1,) * (len(shape_of(weight)) - 1))
        constant = constant_of(weight)
        if constant is None:
            factor = relax.const(scale.astype(np.float32), "float32")
            return builder.emit(relax.op.multiply(current(weight), factor))
        return relax.const((constant.astype(np.float64) * scale).astype(np.float32), "float32")


def _product(name: str) -> str:
    return f"{name}_product"


def _start(value: relax.Expr, definitions: Mapping[str, relax.Expr]) -> _Folded | None:
    """Return a convolution to which factors may come; sums of integers are exact, and stay so."""
    if op_name(value) not in CONVOLUTIONS or str(value.args[1].ty.dtype) != "float32":
        return None
    mixture = read_mixture(value.args[1], definitions)
    one_sample = mixture is not None and mixture.samples == 1
    known = one_sample or constant_of(value.args[1]) is not None
    return _Folded(value, None, None, ()) if known else None


def _fold_one(
    value: relax.Expr, uses: Mapping[str, int], folded: dict[str, _Folded]
) -> _Folded | None:
    if op_name(value) not in ("relax.multiply", "relax.add"):
        return None
    for data, other in (value.args, value.args[::-1]):
        constant = constant_of(other)
        if not isinstance(data, relax.Var) or constant is None:
            continue
        if data.name in folded and uses[data.name] == 1:
            chain = folded[data.name]
            factor = _per_channel(constant, shape_of(data))
            if factor is not None:
                return _extend(chain, op_name(value), factor, (*chain.members, data.name))
    return None


def _extend(chain: _Folded, op: str, factor: Array, members: tuple[str, ...]) -> _Folded:
    if op == "relax.add":
        bias = factor if chain.bias is None else chain.bias + factor
        return _Folded(chain.call, chain.scale, bias, members)
    scale = factor if chain.scale is None else chain.scale * factor
    return _Folded(chain.call, scale, None if chain.bias is None else chain.bias * factor, members)


def _per_channel(constant: npt.NDArray[np.float32], shape: tuple[int, ...]) -> Array | None:
    """Return `constant` as one value per channel of a tensor (N, C, ...), or None."""
    aligned = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    if any(size != 1 for axis, size in enumerate(aligned.shape) if axis != 1):
        return None
    return np.broadcast_to(aligned.reshape(-1).astype(np.float64), (shape[1],))
