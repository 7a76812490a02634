"""Long sums against double precision: they must not lose what short ones keep."""

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import graph_model, run_model

SHAPES = [
    ((1, 6400), (1,)),
    ((4, 18385), (1,)),  # no divisor near its root
    ((2, 300, 24), (1,)),  # outputs side by side
    ((2, 300, 5), (1,)),
    ((7, 19, 131), (0, 1, 2)),
    ((2, 8, 30, 24), (0, 2)),
    ((2, 20, 80, 80), (2, 3)),  # a global pool over blocked channels
]


def check(name: str, got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape, name
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error < 8 * np.finfo(np.float32).eps, f"{name}: {error:.2g}"


def test_long_sums_keep_their_digits() -> None:
    # Terms of one sign: the worst case, and what follows a ReLU.
    draw = np.random.default_rng(0)
    inputs, constants, nodes, want = {}, {}, [], {}
    for number, (shape, axes) in enumerate(SHAPES):
        inputs[f"x{number}"] = draw.uniform(0.1, 1.1, shape).astype(np.float32)
        constants[f"a{number}"] = np.array(axes, np.int64)
        exact = inputs[f"x{number}"].astype(np.float64)
        for op, result in (
            ("ReduceMean", exact.mean(axes, keepdims=True)),
            ("ReduceSumSquare", (exact**2).sum(axes, keepdims=True)),
        ):
            want[f"{op}{number}"] = result
            nodes.append(
                helper.make_node(op, [f"x{number}", f"a{number}"], [f"{op}{number}"], keepdims=1)
            )
    model = graph_model(nodes, inputs, list(want), constants)
    for name, got in run_model(model, inputs).items():
        check(f"{name} {SHAPES[int(name[-1])]}", got, want[name])


@pytest.mark.parametrize("classes", [1000, 6625])
def test_softmax_over_many_classes(classes: int) -> None:
    logits = np.random.default_rng(1).standard_normal((2, classes)).astype(np.float32)
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=-1)]
    got = run_model(graph_model(nodes, {"x": logits}, ["y"]), {"x": logits})["y"]
    powers = np.exp(logits.astype(np.float64))
    check("softmax", got, powers / powers.sum(-1, keepdims=True))
