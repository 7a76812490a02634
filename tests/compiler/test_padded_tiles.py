"""Convolutions of as many channel blocks as no register tile divides: the last tile is padded."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, exported, graph_model, run_library

from edgeconv.artifact import Artifact
from edgeconv.compiler.link import Emit
from edgeconv.compiler.passes.layout.convolutions import pointwise_plain
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.compiler.schedules.machine import tile_counts
from edgeconv.devices import open_session
from edgeconv.target import Target, load_target

HOST = load_target("host")
ARM = [load_target(name) for name in ("rasp4", "rasp5", "rasp2")]
WIDTHS = [bits for bits in (128, 256, 512) if bits <= HOST.cpu.vector_bits]
RANDOM = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pointwise convolutions take blocks, though they are alone."""
    monkeypatch.setattr(pointwise_plain, "_blocked_cost", lambda *layer: 0.0)


class Case(NamedTuple):
    """A convolution of so many blocks of channels, the last of which lacks some."""

    blocks: int = 11
    missing: int = 1
    batch: int = 1
    ins: int = 20
    size: tuple[int, ...] = (9, 10)
    kernel: tuple[int, ...] = (3, 3)
    stride: int = 1
    bias: bool = True
    known: bool = True  # whether weights are constants
    after: str = "Relu"


def after(kind: str, value: str, result: str, name: str) -> list:
    """Return nodes of what follows: an activation, a sum, or a mean of each channel beside it."""
    if kind == "Add":
        return [helper.make_node("Add", [value, f"{name}_other"], [result])]
    if kind == "mean":
        return [
            helper.make_node("Relu", [value], [f"{name}_relu"]),
            helper.make_node("GlobalAveragePool", [f"{name}_relu"], [f"{name}_mean"]),
            helper.make_node("Mul", [f"{name}_relu", f"{name}_mean"], [result]),
        ]
    return [helper.make_node(kind, [value], [result])]


def build(cases: list[Case], lanes: int) -> tuple:
    """Return a model of the cases side by side, and its inputs."""
    nodes, inputs, constants = [], {}, {}
    for i, case in enumerate(cases):
        channels = case.blocks * lanes - case.missing
        pads = [(k - 1) // 2 for k in case.kernel]
        strides = [case.stride if k > 1 else 1 for k in case.kernel]
        sizes = zip(case.size, pads, case.kernel, strides, strict=True)
        result = [(n + 2 * pad - k) // stride + 1 for n, pad, k, stride in sizes]
        inputs[f"x{i}"] = RANDOM.standard_normal((case.batch, case.ins, *case.size), np.float32)
        if case.after == "Add":
            shape = (case.batch, channels, *result)
            inputs[f"n{i}_other"] = RANDOM.standard_normal(shape, np.float32)
        shape = (channels, case.ins, *case.kernel)
        weights = constants if case.known else inputs
        weights[f"w{i}"] = RANDOM.standard_normal(shape, np.float32)
        operands = [f"x{i}", f"w{i}"]
        if case.bias:
            constants[f"b{i}"] = RANDOM.standard_normal(channels, np.float32)
            operands.append(f"b{i}")
        nodes += [
            helper.make_node("Conv", operands, [f"c{i}"], pads=pads * 2, strides=strides),
            *after(case.after, f"c{i}", f"y{i}", f"n{i}"),
        ]
    return graph_model(nodes, inputs, [f"y{i}" for i in range(len(cases))], constants), inputs


def compiled(model, inputs: Arrays, target: Target) -> Artifact:
    emit = Emit.LIB if target.name == HOST.name else Emit.EXE
    return compile_exported(exported(model, inputs), target, emit=emit)


def check(cases: list[Case], target: Target, threads: int) -> None:
    model, inputs = build(cases, target.lanes)
    artifact = compiled(model, inputs, target)
    if target.name == HOST.name:
        got = run_library(artifact, inputs, threads)
    else:
        got = open_session(artifact).run(inputs, threads=threads)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        case = cases[int(name[1:])]
        length = case.ins * int(np.prod(case.kernel)) + (128 if case.after == "mean" else 2)
        assert_close(got[name], want, length, f"{name}: {case}")


CASES = st.builds(
    Case,
    blocks=st.sampled_from([11, 13, 17]),
    missing=st.integers(0, 3),
    batch=st.integers(1, 2),
    ins=st.integers(1, 40),
    size=st.tuples(st.integers(3, 17), st.integers(3, 17)),
    kernel=st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 3)]),
    stride=st.integers(1, 2),
    bias=st.booleans(),
    known=st.sampled_from([True, True, True, False]),
    after=st.sampled_from(["Relu", "HardSwish", "Add", "mean"]),
)


@pytest.mark.parametrize("bits", WIDTHS)
@settings(max_examples=2, deadline=None)
@given(cases=st.lists(CASES, min_size=3, max_size=4), threads=st.integers(1, 3))
def test_any_convolution_is_right(bits: int, cases: list[Case], threads: int) -> None:
    target = replace(HOST, cpu=replace(HOST.cpu, vector_bits=bits))
    check(cases, target, threads)


@pytest.mark.parametrize("target", ARM, ids=lambda target: target.name)
@settings(max_examples=1, deadline=None)
@given(cases=st.lists(CASES, min_size=4, max_size=5))
def test_any_convolution_is_right_on_arm(target: Target, cases: list[Case]) -> None:
    check(cases, target, threads=2)


FIXED = [
    Case(size=(7, 7), kernel=(1, 1), ins=512),
    Case(known=False),
    Case(size=(4, 5, 6), kernel=(3, 1, 1)),
    Case(size=(4, 7, 6), kernel=(1, 3, 3), ins=32, after="Add"),
    Case(size=(4, 5, 5), kernel=(3, 3, 3), blocks=13, batch=2),
]


@pytest.mark.parametrize("target", [HOST, ARM[0]], ids=lambda target: target.name)
def test_videos_and_long_sums(target: Target) -> None:
    check(FIXED, target, threads=2)


@pytest.mark.parametrize("target", [HOST, ARM[0]], ids=lambda target: target.name)
def test_only_weights_are_padded(target: Target) -> None:
    """One block more of them than of the result, by which tiles of several blocks can be had."""
    case = Case(kernel=(1, 1), ins=64, size=(14, 14), missing=0)
    model, inputs = build([case], target.lanes)
    plan = compiled(model, inputs, target).plan
    (step,) = (step for step in plan.steps if step.family == "conv")
    panels, depth, blocks, lanes = plan.buffers[step.inputs[1]].shape
    assert blocks > 1
    assert (panels * blocks, depth, lanes) == (case.blocks + 1, case.ins, target.lanes)
    assert plan.buffers[step.outputs[0]].shape[1] == case.blocks


def test_few_blocks_are_a_tile_of_their_own() -> None:
    assert tile_counts(7, padded=True) == [1, 7]
    assert tile_counts(11) == [1]
    assert tile_counts(11, padded=True) == tile_counts(12) == [1, 2, 3, 4, 6]
    assert tile_counts(22, padded=True) == tile_counts(22)
