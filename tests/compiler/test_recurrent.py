"""Recurrent layers: random attributes against ONNX Runtime, files as exporters write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_graphs import Arrays, assert_close, exported, graph_model, run_model
from torch import nn

import edgeconv
from edgeconv import backend
from edgeconv.compiler.importer import unsupported
from edgeconv.exporter.tolerance import tolerance

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
FLAGS = {"GRU": "linear_before_reset", "LSTM": "input_forget"}
STEPS, BATCH, WIDTH = 4, 2, 5


def layer(
    op: str,
    *,
    hidden: int = 6,
    optional: frozenset[str] = frozenset(["bias", "states"]),
    outputs: str = "all",
    seed: int = 0,
    lengths: np.ndarray | None = None,
    **attributes: Any,
) -> tuple[onnx.ModelProto, Arrays]:
    """Return a model of one layer with inputs; `outputs` are all of them or the last one."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) / np.sqrt(np.float32(shape[-1]))

    directions = 1 + (attributes.get("direction") == "bidirectional")
    rows = directions, GATES[op] * hidden
    constants = {"w": normal(*rows, WIDTH), "r": normal(*rows, hidden)}
    inputs = {"x": 3 * normal(STEPS, BATCH, WIDTH)}
    if attributes.get("layout"):
        inputs["x"] = inputs["x"].swapaxes(0, 1)
    if "bias" in optional:
        constants["b"] = 3 * normal(directions, 2 * rows[1])
    if lengths is not None:
        constants["lengths"] = lengths
    if "peepholes" in optional:
        constants["p"] = 3 * normal(directions, 3 * hidden)
    if "states" in optional:
        inputs |= {n: normal(directions, BATCH, hidden) for n in ("h", "c")[: 1 + (op == "LSTM")]}
    known = {**inputs, **constants}
    order = ["x", "w", "r", "b", "lengths", "h", *(["c", "p"] if op == "LSTM" else [])]
    names = [name if name in known else "" for name in order]
    results = ["y", "last", "memory"][: 2 + (op == "LSTM")]
    if outputs == "last":
        results = ["", *results[1:2]]
    node = helper.make_node(op, names, results, name="layer", hidden_size=hidden, **attributes)
    return graph_model([node], inputs, list(filter(None, results)), constants), inputs


def compare(model: onnx.ModelProto, inputs: Arrays) -> None:
    got = run_model(model, inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 64, name)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_layer_equals_onnxruntime(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(sorted(GATES)))
    kinds = ["bias", "states", *(["peepholes"] if op == "LSTM" else [])]
    attributes: dict[str, Any] = data.draw(
        st.fixed_dictionaries(
            {"direction": st.sampled_from(["forward", "reverse", "bidirectional"])},
            optional={"clip": st.just(0.5), **({FLAGS[op]: st.just(1)} if op in FLAGS else {})},
        )
    )
    model, inputs = layer(
        op,
        hidden=data.draw(st.sampled_from([1, 3, 8, 12, 17])),
        optional=frozenset(data.draw(st.sets(st.sampled_from(kinds)))),
        seed=data.draw(st.integers(0, 2**31)),
        **attributes,
    )
    compare(model, inputs)


@pytest.mark.parametrize(
    ("names", "alphas", "betas"),
    [
        (["Affine", "HardSigmoid", "LeakyRelu"], [0.5, 0.7, 0.3], [0.1, 0.2]),
        (["Sigmoid", "Elu", "ScaledTanh"], [0.5, 0.7], [0.9]),
        (["hardsigmoid", "softplus", "ThresholdedRelu"], [0.1, 0.3], []),
        (["Sigmoid", "Relu", "Softsign"], [], []),
    ],
)
def test_activations_take_their_parameters_in_turn(
    names: list[str], alphas: list[float], betas: list[float]
) -> None:
    compare(
        *layer(
            "LSTM",
            direction="bidirectional",
            activations=names * 2,
            activation_alpha=alphas * 2 or None,
            activation_beta=betas * 2 or None,
        )
    )


@pytest.mark.parametrize("op", sorted(GATES))
def test_batch_first(op: str) -> None:
    # ONNX Runtime has no such kernel.
    options: dict[str, Any] = {"direction": "bidirectional", "optional": frozenset(["bias"])}
    first, inputs = layer(op, layout=1, **options)
    sequence, last, *_ = backend.run_model(first, list(inputs.values()))
    want = run_model(*layer(op, **options))
    np.testing.assert_array_equal(sequence, want["y"].transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(last, want["last"].swapaxes(0, 1))


@pytest.mark.parametrize("op", sorted(GATES))
def test_the_last_state_alone(op: str) -> None:
    model, inputs = layer(op, outputs="last")
    compare(model, inputs)
    assert 0 < tolerance(model, [inputs])["last"] < 1e-5


def test_lengths_that_are_whole() -> None:
    compare(*layer("GRU", lengths=np.full(BATCH, STEPS, np.int32)))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"lengths": np.array([STEPS, 1], np.int32)}, "end early"),
        ({"activations": ["Sigmoid", "Cosine"]}, "unknown activations: cosine"),
        ({"activations": ["Sigmoid"]}, "1 activations, but 2"),
        ({"activations": ["Affine", "Tanh"]}, "affine: its parameters are not given"),
        (
            {"direction": "bidirectional", "activations": ["Sigmoid", "Tanh", "Tanh", "Tanh"]},
            "differ between the directions",
        ),
    ],
)
def test_what_is_refused(attributes: dict[str, Any], reason: str) -> None:
    model, _ = layer("GRU", **attributes)
    assert reason in unsupported(model)["layer"]


class Reader(nn.Module):
    """A text recogniser's last layers."""

    def __init__(self) -> None:
        super().__init__()
        options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
        self.lstm = nn.LSTM(12, 20, **options)
        self.gru = nn.GRU(40, 9, **options)
        self.classes = nn.Linear(18, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features, _ = self.gru(self.lstm(x)[0])
        return self.classes(features)


def test_bidirectional_layers_from_pytorch() -> None:
    torch.manual_seed(0)
    artifact = edgeconv.compile(Reader().eval(), [torch.randn(2, 9, 12)], threads=2)
    artifact.verify().raise_if_failed()
    assert [step.family for step in artifact.plan.steps].count("recurrent") == 4


@pytest.mark.parametrize(("dtype", "bound"), [(np.float16, 2e-3), (np.float64, 1e-14)])
def test_other_precisions(dtype: type[np.floating[Any]], bound: float) -> None:
    # ONNX Runtime computes single precision only; the standard's reference goes forward only.
    single, inputs = layer("LSTM")
    constants = {t.name: numpy_helper.to_array(t).astype(dtype) for t in single.graph.initializer}
    inputs = {name: array.astype(dtype) for name, array in inputs.items()}
    results = [value.name for value in single.graph.output]
    model = graph_model(single.graph.node, inputs, results, constants)
    got = backend.run_model(model, list(inputs.values()))
    wide = {name: array.astype(np.float64) for name, array in {**inputs, **constants}.items()}
    node = single.graph.node[0]
    want = ReferenceEvaluator(node).run(None, {name: wide[name] for name in node.input if name})
    for result, reference in zip(got, want, strict=True):
        assert (result.dtype, result.shape) == (dtype, reference.shape)
        np.testing.assert_allclose(result, reference, rtol=0, atol=bound)
