"""Convolutions whose weights are computed at run time: mixed out of constants, or anyhow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model

RANDOM = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def check(model, inputs) -> None:
    got = run_model(model, inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 4000, name)


@dataclass(frozen=True)
class Case:
    """Channels and outputs of each group and sample; experts may have a constant added."""

    batch: int
    experts: int
    groups: int
    ins: int
    outs: int
    kernel: int
    shift: bool = False


def mixed(case: Case):
    """Return a model as exporters write dynamic convolution, and its inputs.

    Inputs x (batch, groups * ins, 9, 11) and mixing (batch, experts).
    """
    outs, batch = case.groups * case.outs, case.batch
    weight = (outs, case.ins, case.kernel, case.kernel)
    constants = {
        "experts": normal(case.experts, int(np.prod(weight))),
        "biases": normal(case.experts, outs),
        "folded": np.array([1, batch * case.groups * case.ins, 9, 11]),
        "kernels": np.array([batch * outs, *weight[1:]]),
        "flat": np.array([-1]),
        "unfolded": np.array([batch, outs, 9, 11]),
    }
    made = "shifted" if case.shift else "sum"
    pads = [case.kernel // 2] * 4
    nodes = [
        helper.make_node("MatMul", ["mixing", "experts"], ["sum"], name="mix"),
        helper.make_node("Reshape", ["x", "folded"], ["channels"], name="fold"),
        helper.make_node("Reshape", [made, "kernels"], ["w"], name="w"),
        helper.make_node("MatMul", ["mixing", "biases"], ["bias"], name="mix_bias"),
        helper.make_node("Reshape", ["bias", "flat"], ["b"], name="b"),
        helper.make_node(
            "Conv", ["channels", "w", "b"], ["y"], name="c", group=batch * case.groups, pads=pads
        ),
        helper.make_node("Reshape", ["y", "unfolded"], ["samples"], name="unfold"),
        helper.make_node("Relu", ["samples"], ["z"], name="relu"),
    ]
    if case.shift:
        constants["base"] = normal(1, int(np.prod(weight)))
        nodes.insert(1, helper.make_node("Add", ["base", "sum"], ["shifted"], name="shift"))
    inputs = {
        "x": normal(batch, case.groups * case.ins, 9, 11),
        "mixing": normal(batch, case.experts),
    }
    return graph_model(nodes, inputs, ["z"], constants), inputs


CASES = st.builds(
    Case,
    batch=st.integers(1, 3),
    experts=st.integers(1, 9),
    groups=st.sampled_from([1, 2, 4]),
    ins=st.integers(1, 5),
    outs=st.integers(1, 12),
    kernel=st.sampled_from([1, 3]),
    shift=st.booleans(),
)


@settings(max_examples=10, deadline=None)
@given(CASES)
def test_any_mixture_is_right(case: Case) -> None:
    check(*mixed(case))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("groups", "kernel"), [(1, 1), (1, 3), (32, 3)])
def test_packed_experts_are_mixed(batch: int, groups: int, kernel: int) -> None:
    """One product makes the packed weights; nothing packs at run time or multiplies plainly."""
    width = 32 // groups
    model, inputs = mixed(Case(batch, 4, groups, width, width, kernel))
    check(model, inputs)
    steps = compile_model(model, inputs).plan.steps
    size = 32 * width * kernel**2
    assert [step.macs for step in steps if step.family == "weights"] == [4 * batch * size]
    assert sum(step.macs for step in steps) == batch * (4 * (size + 32) + size * 9 * 11)


def test_a_block_of_channels_may_belong_to_two_samples() -> None:
    """30 channels take as many blocks as 32, but the second sample starts inside of one."""
    check(*mixed(Case(3, 4, 30, 1, 1, 3)))


def test_batch_norm_becomes_part_of_the_experts() -> None:
    nodes = [
        helper.make_node("MatMul", ["mixing", "experts"], ["sum"], name="mix"),
        helper.make_node("Reshape", ["sum", "shape"], ["w"], name="w"),
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("BatchNormalization", ["a", "s", "t", "m", "v"], ["b"], name="norm"),
        helper.make_node("Relu", ["b"], ["y"], name="relu"),
    ]
    constants = {"experts": normal(3, 24 * 20), "shape": np.array([24, 20, 1, 1])}
    constants |= {name: normal(24) for name in ("s", "t", "m")} | {"v": np.abs(normal(24)) + 0.1}
    inputs = {"x": normal(1, 20, 7, 9), "mixing": normal(1, 3)}
    model = graph_model(nodes, inputs, ["y"], constants)
    check(model, inputs)
    (step,) = [s for s in compile_model(model, inputs).plan.steps if s.family == "dynamic"]
    assert set(step.layers) == {"conv", "norm", "relu"}
    assert len(step.inputs) == 3  # data, weights and shift, but no scale


def test_other_computed_weights_are_packed_at_run_time() -> None:
    nodes = [
        helper.make_node("Mul", ["kernels", "gate"], ["w"], name="scale"),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    inputs = {"x": normal(2, 20, 7, 9), "gate": normal(24, 1, 1, 1)}
    model = graph_model(nodes, inputs, ["y"], {"kernels": normal(24, 20, 3, 3)})
    check(model, inputs)
    assert "weights" in [step.family for step in compile_model(model, inputs).plan.steps]
