"""Groups narrower than a block of channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import assert_close, compile_model, exported, graph_model, run_model

from edgeconv.devices import open_session

RANDOM = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """`ins` and `outs` are channels of one group."""

    groups: int
    ins: int
    outs: int
    kernel: int
    stride: int
    dilation: int
    width: int


def grouped(cases: list[Case]):
    """Return one model with every case side by side, and its inputs."""
    nodes, inputs, constants = [], {}, {}
    for i, case in enumerate(cases):
        shape = (case.groups * case.outs, case.ins, case.kernel, case.kernel)
        constants[f"w{i}"] = RANDOM.standard_normal(shape, np.float32)
        inputs[f"x{i}"] = RANDOM.standard_normal(
            (2, case.groups * case.ins, 9, case.width), np.float32
        )
        nodes.append(
            helper.make_node(
                "Conv",
                [f"x{i}", f"w{i}"],
                [f"y{i}"],
                name=f"conv{i}",
                group=case.groups,
                strides=[case.stride] * 2,
                dilations=[case.dilation] * 2,
                pads=[case.kernel // 2] * 4,
            )
        )
    return graph_model(nodes, inputs, [f"y{i}" for i in range(len(cases))], constants), inputs


CASES = st.builds(
    Case,
    groups=st.integers(2, 12),
    ins=st.integers(1, 9),
    outs=st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 12]),
    kernel=st.sampled_from([1, 3, 4]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    width=st.sampled_from([8, 13, 40]),
)
# Every number of channels that fits vectors of 4, 8 or 16.
NARROW = [
    Case(32 // channels, channels, channels, 3, stride, 1, 11)
    for channels in (1, 2, 4, 8)
    for stride in (1, 2)
] + [Case(16, 1, 2, 3, 1, 1, 11), Case(9, 2, 4, 3, 1, 2, 11), Case(5, 4, 4, 3, 1, 1, 11)]


# Groups that fit no block: tiles of outputs and rows, and columns that lie apart.
ODD = [
    Case(2, 5, outs, 3, stride, 1, width)
    for outs, width in ((9, 8), (7, 40))
    for stride in (1, 2, 3)
]


@settings(max_examples=6, deadline=None)
@given(st.lists(CASES, min_size=3, max_size=3))
def test_any_group_is_right(cases: list[Case]) -> None:
    model, inputs = grouped(cases)
    got = run_model(model, inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 9 * 16, name)


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
def test_awkward_groups_on_every_processor(target: str) -> None:
    model, inputs = grouped(NARROW + ODD)
    if target == "host":
        got = run_model(model, inputs)
    else:
        got = open_session(compile_model(model, inputs, target), None).run(inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 9 * 8, name)
