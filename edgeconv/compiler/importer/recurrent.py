"""Converters of recurrent layers: LSTM, GRU, RNN.

One matrix product takes the inputs of all steps, and one kernel walks over time
(`compute.recurrent`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, tirx

from edgeconv.compiler.compute.recurrent import (
    LANES,
    Cell,
    Function,
    gru_cell,
    lstm_cell,
    recurrence,
    rnn_cell,
)
from edgeconv.compiler.graph import constant
from edgeconv.compiler.importer.converter import Arguments, Converter, dtype_of
from edgeconv.compiler.importer.node import Node

Array = npt.NDArray[Any]

_W, _R, _B, _LENGTHS, _PEEPHOLES = 1, 2, 3, 4, 7
# The initial values of the hidden state, and of an LSTM's memory.
_INITIAL = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}
# The activations of one direction, where a node names none.
_DEFAULTS = {
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "RNN": ("Tanh",),
}


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return tirx.max(0.0, tirx.min(1.0, alpha * x + beta))


# By name in small letters, as ONNX Runtime reads them: the function, and its alpha and beta where
# a node gives none; None where the standard and ONNX Runtime do not agree on a default.
_ACTIVATIONS: dict[str, tuple[Callable[..., Any], tuple[float | None, ...]]] = {
    "affine": (lambda x, alpha, beta: alpha * x + beta, (None, None)),
    "elu": (lambda x, alpha: tirx.Select(x < 0, alpha * (tirx.exp(x) - 1.0), x), (1.0,)),
    "hardsigmoid": (_hard_sigmoid, (0.2, 0.5)),
    "leakyrelu": (lambda x, alpha: tirx.Select(x < 0, alpha * x, x), (0.01,)),
    "relu": (lambda x: tirx.max(x, 0.0), ()),
    "scaledtanh": (lambda x, alpha, beta: alpha * tirx.tanh(beta * x), (None, None)),
    "sigmoid": (tirx.sigmoid, ()),
    "softplus": (lambda x: tirx.max(x, 0.0) + tirx.log(1.0 + tirx.exp(-tirx.abs(x))), ()),
    "softsign": (lambda x: x / (1.0 + tirx.abs(x)), ()),
    "tanh": (tirx.tanh, ()),
    "thresholdedrelu": (
        lambda x, alpha: tirx.Select(x > alpha, x, tirx.const(0, x.ty.dtype)),
        (None,),
    ),
}


def _activation_names(node: Node) -> list[str]:
    """Return the names of all activations, direction by direction, in small letters."""
    given = node.attributes.get("activations") or node.shape(_W)[0] * _DEFAULTS[node.op]
    return [(name.decode() if isinstance(name, bytes) else name).lower() for name in given]


def _with_parameters(node: Node) -> list[tuple[str, tuple[float | None, ...]]]:
    """Return the name of every activation, and its alpha and beta where it has them.

    An activation that has one takes the next of the node's.
    """
    alphas = iter(node.attributes.get("activation_alpha", ()))
    betas = iter(node.attributes.get("activation_beta", ()))
    return [
        (name, tuple(next(given, d) for given, d in zip((alphas, betas), defaults, strict=False)))
        for name in _activation_names(node)
        for defaults in [_ACTIVATIONS[name][1]]
    ]


def _activations(node: Node) -> list[Function]:
    """Return the activations of one direction.

    What gates get is clipped; the memory of an LSTM, which the third activation gets, is not, as
    in ONNX Runtime.
    """
    clip = node.attributes.get("clip", 0.0)
    clips = (clip, clip, 0.0)[: len(_DEFAULTS[node.op])]
    return [
        partial(_activate, _ACTIVATIONS[name][0], numbers, bound)
        for (name, numbers), bound in zip(_with_parameters(node), clips, strict=False)
    ]


def _activate(function: Function, numbers: Sequence[Any], clip: float, x: Any) -> Any:
    return function(tirx.max(tirx.min(x, clip), -clip) if clip else x, *numbers)


def _refuse(node: Node) -> str | None:
    names, count = _activation_names(node), len(_DEFAULTS[node.op])
    unknown = sorted(set(names) - set(_ACTIVATIONS))
    if unknown:
        return f"unknown activations: {', '.join(unknown)}"
    if len(names) != count * node.shape(_W)[0]:
        return f"{len(names)} activations, but {count} for each direction are needed"
    activations = _with_parameters(node)
    for name, numbers in activations:
        if None in numbers:
            return f"activation {name}: its parameters are not given, and have no agreed defaults"
    if any(activations[i] != activations[i % count] for i in range(len(activations))):
        return "activations that differ between the directions"
    lengths = node.constant(_LENGTHS)
    if lengths is not None and (lengths != node.shape(0)[_batch_first(node)]).any():
        return "sequences that end early: sequence_lens must be the whole length"
    return None


def _batch_first(node: Node) -> bool:
    return bool(node.attributes.get("layout", 0))


def _panels(array: Array, gates: int) -> Array:
    """(directions, gates * hidden, ...) to (directions, panels, gates, LANES, ...).

    Zeros stand beyond the last hidden unit.
    """
    directions, rows, *rest = array.shape
    hidden = rows // gates
    widths = [(0, 0), (0, 0), (0, -hidden % LANES), *((0, 0) for _ in rest)]
    padded = np.pad(array.reshape(directions, gates, hidden, *rest), widths)
    panels = padded.reshape(directions, gates, padded.shape[2] // LANES, LANES, *rest)
    return np.moveaxis(panels, 1, 2)


def _gates(node: Node) -> int:
    _, rows, hidden = node.shape(_R)
    return rows // hidden


def _wide(dtype: str) -> str:
    """Return the type to compute in."""
    return "float32" if dtype == "float16" else dtype


def _weights(node: Node, index: int) -> Array:
    """Return a constant input in the type to compute in."""
    array = node.constant(index)
    assert array is not None
    return array.astype(_wide(node.dtype()))


def _biases(node: Node) -> tuple[Array, Array]:
    """Return the biases of the inputs and of the hidden state, (directions, gates * hidden)."""
    directions, rows, _ = node.shape(_W)
    if not node.has_input(_B):
        zeros = np.zeros((directions, rows), _wide(node.dtype()))
        return zeros, zeros
    inputs, hidden = np.split(_weights(node, _B), 2, axis=1)
    return inputs, hidden


@dataclass(frozen=True)
class _Layer:
    """What tells one recurrent layer from another.

    Attributes:
        cell: what happens at a step.
        bias: (directions, gates * hidden), what is added to the products of the inputs.
        extra: the cell's further weights (directions, rows * hidden); None where it has none.
    """

    cell: Cell
    bias: Array
    extra: Array | None = None


def _rnn(node: Node) -> _Layer:
    inputs, hidden = _biases(node)
    return _Layer(rnn_cell(*_activations(node)), inputs + hidden)


def _lstm(node: Node) -> _Layer:
    peepholes = _weights(node, _PEEPHOLES) if node.has_input(_PEEPHOLES) else None
    cell = lstm_cell(
        *_activations(node),
        coupled=bool(node.attributes.get("input_forget", 0)),
        peepholes=peepholes is not None,
    )
    inputs, hidden = _biases(node)
    return _Layer(cell, inputs + hidden, peepholes)


def _gru(node: Node) -> _Layer:
    linear = bool(node.attributes.get("linear_before_reset", 0))
    cell = gru_cell(*_activations(node), linear_before_reset=linear)
    inputs, hidden = _biases(node)
    if not linear:
        return _Layer(cell, inputs + hidden)
    # The reset gate scales the last third of the hidden state's biases.
    first = 2 * hidden.shape[1] // 3
    outside = np.concatenate([hidden[:, :first], np.zeros_like(hidden[:, first:])], axis=1)
    return _Layer(cell, inputs + outside, hidden[:, first:])


def _converter(layer_of: Callable[[Node], _Layer]) -> Converter:
    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> list[relax.Expr]:
        layer = layer_of(node)
        data = _prepared(builder, node, arguments[0])
        inputs = _times_weights(builder, node, data, layer.bias)
        initial = [*_initial(builder, node, arguments, int(data.ty.shape[1]))]
        results = _walk(builder, node, layer, inputs, initial)
        return [_finished(builder, node, result) for result in results[: len(node.outputs)]]

    return Converter(convert, _refuse, constants=(_W, _R, _B, _LENGTHS, _PEEPHOLES))


def _prepared(builder: relax.BlockBuilder, node: Node, tensor: relax.Expr) -> relax.Expr:
    """Return an input in the type to compute in, batch second."""
    if _batch_first(node):
        tensor = builder.emit(relax.op.permute_dims(tensor, [1, 0, 2]))
    return _as(builder, tensor, _wide(node.dtype()))


def _finished(builder: relax.BlockBuilder, node: Node, result: relax.Expr) -> relax.Expr:
    """Return a result with the batch where the node wants it; it is before the last axis."""
    if _batch_first(node):
        batch, last = len(result.ty.shape) - 2, len(result.ty.shape) - 1
        result = builder.emit(relax.op.permute_dims(result, [batch, *range(batch), last]))
    return _as(builder, result, node.dtype())


def _as(builder: relax.BlockBuilder, tensor: relax.Expr, dtype: str) -> relax.Expr:
    if dtype_of(tensor) == dtype:
        return tensor
    return builder.emit(relax.op.astype(tensor, dtype))


def _times_weights(
    builder: relax.BlockBuilder, node: Node, data: relax.Expr, bias: Array
) -> relax.Expr:
    """Return the products of the inputs of all steps, (T, N, directions, panels, gates, LANES)."""
    columns = np.moveaxis(_panels(_weights(node, _W), _gates(node)), -1, 0)
    weights = constant(columns.reshape(len(columns), -1))
    steps, batch, width = (int(size) for size in data.ty.shape)
    # One matrix, so that weights are read once for several rows.
    rows = builder.emit(relax.op.reshape(data, (steps * batch, width)))
    product = builder.emit(relax.op.matmul(rows, weights))
    added = constant(_panels(bias, _gates(node)).reshape(-1))
    product = builder.emit(relax.op.add(product, added))
    return builder.emit(relax.op.reshape(product, (steps, batch, *columns.shape[1:])))


def _initial(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments, batch: int
) -> Iterator[relax.Expr]:
    """Return the states before the first step, (directions, N, hidden)."""
    directions, _, hidden = node.shape(_R)
    for index in _INITIAL[node.op]:
        if node.has_input(index):
            yield _prepared(builder, node, arguments[index])
        else:
            yield constant(np.zeros((directions, batch, hidden), _wide(node.dtype())))


def _walk(
    builder: relax.BlockBuilder,
    node: Node,
    layer: _Layer,
    inputs: relax.Expr,
    initial: Sequence[relax.Expr],
) -> list[relax.Expr]:
    """Return the hidden states of all steps, and the cell's results after the last one."""
    cell, direction = layer.cell, node.text("direction", "forward")
    weights = np.moveaxis(_panels(_weights(node, _R), _gates(node)), -1, 2)
    constants = np.split(weights, np.cumsum(cell.gates)[:-1], axis=3)
    if layer.extra is not None:
        constants.append(_panels(layer.extra, layer.extra.shape[1] // node.shape(_R)[-1]))
    walked = builder.emit(
        builder.call_te(
            lambda *tensors: recurrence(tensors, cell, direction),
            *(inputs, *initial, *map(constant, constants)),
            primfunc_name_hint="recurrent",
        )
    )
    return [
        builder.emit(relax.TupleGetItem(walked, index)) for index in range(1 + len(cell.results))
    ]


CONVERTERS = {
    "GRU": _converter(_gru),
    "LSTM": _converter(_lstm),
    "RNN": _converter(_rnn),
}
