"""Matrix products of awkward sizes, of constants and of computed matrices, in any order of axes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_model, graph_model, run_model

from edgeconv.devices import open_session

# Shapes of both operands; whether the second is a constant; whether it is transposed before.
PRODUCTS = [
    ((2, 8, 49, 20), (2, 8, 20, 49), False, False),
    ((3, 37, 16), (3, 37, 16), False, True),
    ((1, 53, 24), (5, 24, 2), False, False),
    ((4, 1, 6, 9), (3, 9, 17), True, False),
    ((1, 30), (30, 70), True, False),
    ((3, 30), (30, 33), False, False),
    ((61, 7), (7, 64), True, False),
    ((2, 1, 5), (5, 1), False, False),
]


def build() -> tuple[object, Arrays, dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    nodes, inputs, constants, want = [], {}, {}, {}
    for i, (left, right, constant, transposed) in enumerate(PRODUCTS):
        a = inputs[f"a{i}"] = draw.standard_normal(left, np.float32)
        b = draw.standard_normal(right, np.float32)
        (constants if constant else inputs)[f"b{i}"] = b
        name = f"b{i}"
        if transposed:
            order = [*range(b.ndim - 2), b.ndim - 1, b.ndim - 2]
            nodes.append(helper.make_node("Transpose", [name], [f"t{i}"], perm=order))
            name, b = f"t{i}", b.transpose(order)
        nodes.append(helper.make_node("MatMul", [f"a{i}", name], [f"y{i}"]))
        want[f"y{i}"] = np.matmul(a.astype(np.float64), b).astype(np.float32)
    return graph_model(nodes, inputs, list(want), constants), inputs, want


def check(got: Arrays, want: dict[str, np.ndarray]) -> None:
    for (left, *rest), (name, value) in zip(PRODUCTS, want.items(), strict=True):
        assert_close(got[name], value, left[-1], f"{left} {rest}")


def test_products_on_this_machine() -> None:
    model, inputs, want = build()
    check(run_model(model, inputs), want)


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_products_under_emulation(target: str) -> None:
    model, inputs, want = build()
    check(open_session(compile_model(model, inputs, target), None).run(inputs), want)


def test_a_transposition_before_a_product_is_no_step() -> None:
    model, inputs, _ = build()
    steps = compile_model(model, inputs).plan.steps
    assert not [step.name for step in steps if "transpose" in step.name or step.name.endswith("t1")]
