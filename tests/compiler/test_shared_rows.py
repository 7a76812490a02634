"""Layers of which every core takes the same rows, so that few lines pass between cores."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, exported, graph_model, run_library

from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.compiler.schedules.machine import Machine, core_bands
from edgeconv.target import load_target

HOST = load_target("host")
RANDOM = np.random.default_rng(7)
FAR = Machine(16, 32, lane_fma=False, l1_bytes=48 << 10, l2_bytes=2 << 20, cores=2)


class Case(NamedTuple):
    """A pointwise convolution, a window over each of its channels, and one more."""

    batch: int
    ins: int
    channels: int
    height: int
    width: int
    window: str
    kernel: int
    stride: int
    padding: int


def build(cases: list[Case]) -> tuple:
    """Return a model of such chains side by side, and its inputs."""
    nodes, inputs, constants = [], {}, {}
    for i, case in enumerate(cases):
        shapes = {
            f"p{i}": (case.channels, case.ins, 1, 1),
            f"d{i}": (case.channels, 1, case.kernel, case.kernel),
            f"q{i}": (case.ins, case.channels, 1, 1),
        }
        constants |= {
            name: RANDOM.standard_normal(shape, np.float32) for name, shape in shapes.items()
        }
        shape = (case.batch, case.ins, case.height, case.width)
        inputs[f"x{i}"] = RANDOM.standard_normal(shape, np.float32)
        window = {"strides": [case.stride] * 2, "pads": [case.padding] * 4}
        if case.window == "depthwise":
            middle = helper.make_node(
                "Conv", [f"e{i}", f"d{i}"], [f"w{i}"], group=case.channels, **window
            )
        else:
            window["kernel_shape"] = [case.kernel] * 2
            middle = helper.make_node(case.window, [f"e{i}"], [f"w{i}"], **window)
        nodes += [
            helper.make_node("Conv", [f"x{i}", f"p{i}"], [f"e{i}"]),
            middle,
            helper.make_node("Relu", [f"w{i}"], [f"r{i}"]),
            helper.make_node("Conv", [f"r{i}", f"q{i}"], [f"y{i}"]),
        ]
    return graph_model(nodes, inputs, [f"y{i}" for i in range(len(cases))], constants), inputs


CASES = st.builds(
    Case,
    batch=st.integers(1, 2),
    ins=st.integers(1, 40),
    channels=st.integers(1, 70),
    height=st.integers(18, 60),
    width=st.sampled_from([12, 17, 24, 28, 40]),
    window=st.sampled_from(["depthwise", "depthwise", "MaxPool", "AveragePool"]),
    kernel=st.sampled_from([1, 2, 3, 5, 7]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
).filter(lambda case: 2 * case.padding <= case.kernel)


@settings(max_examples=8, deadline=None)
@given(
    cases=st.lists(CASES, min_size=4, max_size=6),
    cores=st.integers(1, 6),
    threads=st.integers(1, 3),
)
def test_any_chain_is_right(cases: list[Case], cores: int, threads: int) -> None:
    model, inputs = build(cases)
    target = replace(HOST, cpu=replace(HOST.cpu, cores=cores, l2_kib=2048, l2_shared=False))
    model = exported(model, inputs)
    got: Arrays = run_library(compile_exported(model, target, emit=Emit.LIB), inputs, threads)
    for name, want in model.golden[0].outputs.items():
        case = cases[int(name[1:])]
        assert_close(got[name], want, max(128, case.ins * case.kernel**2 * case.channels), name)


@pytest.mark.parametrize(
    ("rows", "block_kib", "machine", "bands"),
    [
        (28, 49, FAR, 2),
        (28, 49, replace(FAR, cores=8), 4),
        (27, 49, FAR, 1),  # which cores cannot share evenly
        (27, 49, replace(FAR, cores=4), 3),
        (14, 12, FAR, 1),  # bands of 6 KB
        (7, 3, FAR, 1),
        (112, 784, replace(FAR, cores=1), 1),
        (112, 784, replace(FAR, l2_shared=True), 1),
        (112, 784, replace(FAR, lane_fma=True), 1),
    ],
)
def test_bands_are_even_and_not_low(
    rows: int, block_kib: int, machine: Machine, bands: int
) -> None:
    assert core_bands(rows, block_kib << 10, machine) == bands
