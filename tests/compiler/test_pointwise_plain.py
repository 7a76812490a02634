"""Pointwise convolutions between plain tensors: no blocks are made for them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_model, exported, graph_model, run_library

from edgeconv.artifact import Artifact
from edgeconv.compiler.link import Emit
from edgeconv.compiler.passes.layout.convolutions import pointwise_plain
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.compiler.schedules.machine import Machine, plain_pixel_tile
from edgeconv.target import load_target

HOST = load_target("host")
WIDTHS = [bits for bits in (128, 256, 512) if bits <= HOST.cpu.vector_bits]
RANDOM = np.random.default_rng(8)


class Case(NamedTuple):
    """A pointwise convolution of an input of the network, whose result is one of its outputs."""

    outs: int = 24
    ins: int = 20
    batch: int = 1
    size: tuple[int, ...] = (9, 10)
    bias: bool = True
    known: bool = True  # whether weights are constants
    after: str = "Relu"


def build(cases: list[Case]) -> tuple:
    """Return a model of the cases side by side, and its inputs."""
    nodes, inputs, constants, outputs = [], {}, {}, []
    for i, case in enumerate(cases):
        inputs[f"x{i}"] = RANDOM.standard_normal((case.batch, case.ins, *case.size), np.float32)
        weights = constants if case.known else inputs
        shape = (case.outs, case.ins, *(1 for _ in case.size))
        weights[f"w{i}"] = RANDOM.standard_normal(shape, np.float32)
        operands = [f"x{i}", f"w{i}"]
        if case.bias:
            constants[f"b{i}"] = RANDOM.standard_normal(case.outs, np.float32)
            operands.append(f"b{i}")
        nodes.append(helper.make_node("Conv", operands, [f"c{i}"]))
        if case.after == "Add":
            shape = (case.batch, case.outs, *case.size)
            inputs[f"o{i}"] = RANDOM.standard_normal(shape, np.float32)
            nodes.append(helper.make_node("Add", [f"o{i}", f"c{i}"], [f"y{i}"]))
        elif case.after == "both":
            nodes.append(helper.make_node("Sigmoid", [f"c{i}"], [f"y{i}"]))
            outputs.append(f"c{i}")
        else:
            nodes.append(helper.make_node(case.after, [f"c{i}"], [f"y{i}"]))
        outputs.append(f"y{i}")
    return graph_model(nodes, inputs, outputs, constants), inputs


def blocked_steps(artifact: Artifact) -> list[str]:
    """Return the steps that read or write blocks of channels."""
    plan = artifact.plan
    return [
        step.name
        for step in plan.steps
        if any(plan.buffers[i].block for i in (*step.inputs, *step.outputs))
    ]


def check(cases: list[Case], bits: int, threads: int) -> None:
    model, inputs = build(cases)
    target = replace(HOST, cpu=replace(HOST.cpu, vector_bits=bits))
    artifact = compile_exported(exported(model, inputs), target, emit=Emit.LIB)
    assert not blocked_steps(artifact)
    got = run_library(artifact, inputs, threads)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        case = cases[int(name[1:])]
        assert_close(got[name], want, case.ins + 2, f"{name}: {case}")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model find blocks too slow."""
    monkeypatch.setattr(pointwise_plain, "_blocked_cost", lambda *layer: float("inf"))


SIZES = st.sampled_from([(16,), (100,), (4, 4), (3, 7), (13, 12), (32, 32), (3, 4, 5)])
CASES = st.builds(
    Case,
    outs=st.sampled_from([1, 2, 3, 7, 8, 21, 24, 29, 37, 96]),
    ins=st.sampled_from([1, 3, 4, 17, 40, 64]),
    batch=st.integers(1, 2),
    size=SIZES,
    bias=st.booleans(),
    known=st.sampled_from([True, True, True, False]),
    after=st.sampled_from(["Relu", "HardSwish", "Add", "both"]),
)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("bits", WIDTHS)
@settings(max_examples=3, deadline=None)
@given(cases=st.lists(CASES, min_size=3, max_size=5), threads=st.integers(1, 3))
def test_any_pointwise_convolution_is_right(bits: int, cases: list[Case], threads: int) -> None:
    check(cases, bits, threads)


LARGE = [
    Case(outs=24, ins=144, size=(56, 56)),
    Case(outs=96, ins=16, size=(64, 63), after="Add"),
    Case(outs=64, ins=64, size=(32, 32), batch=2),
]


@pytest.mark.parametrize("threads", [1, 2])
def test_large_images_stay_plain(threads: int) -> None:
    check(LARGE, HOST.cpu.vector_bits, threads)


def layout_steps(nodes: list, inputs: Arrays, outputs: list[str], constants: Arrays) -> int:
    """Return how many steps of a network change layouts."""
    plan = compile_model(graph_model(nodes, inputs, outputs, constants), inputs).plan
    return sum(step.family == "layout" for step in plan.steps)


def test_a_reader_that_takes_blocks_gets_them() -> None:
    """Two layers of which the second takes blocks: the image is changed once at either end."""
    inputs = {"x": RANDOM.standard_normal((1, 32, 64, 64), np.float32)}
    constants = {
        "w": RANDOM.standard_normal((48, 32, 1, 1), np.float32),
        "v": RANDOM.standard_normal((48, 1, 3, 3), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["y"], pads=[1, 1, 1, 1], group=48),
    ]
    assert layout_steps(nodes[:2], inputs, ["r"], constants) == 0
    assert layout_steps(nodes, inputs, ["y"], constants) == 2


@pytest.mark.parametrize("outs", [1, 3, 24, 37, 96, 1000])
@pytest.mark.parametrize("pixels", [16, 50, 196, 3136])
def test_a_tile_divides_the_outputs_and_is_no_wider_than_the_image(outs: int, pixels: int) -> None:
    machine = Machine(16, 32, lane_fma=False, l1_bytes=48 << 10, l2_bytes=2 << 20)
    tile = plain_pixel_tile(outs, pixels, machine)
    assert outs % tile.rows == 0
    assert tile.columns * machine.lanes <= pixels
    assert tile.rows * tile.columns + tile.columns < machine.registers
    assert tile.cost >= prod((-(-pixels // machine.lanes), machine.lanes)) / pixels
