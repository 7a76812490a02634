"""Convolutions, then windows over each channel, in one pass over bands of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper
from onnx_graphs import Arrays, assert_close, exported, graph_model, run_library

from edgeconv.artifact import Artifact
from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.devices import open_session
from edgeconv.target import Target, load_target

HOST = load_target("host")
ARM = [load_target(name) for name in ("rasp4", "rasp5")]
# Vectors that this machine has.
WIDTHS = [bits for bits in (128, 256, 512) if bits <= HOST.cpu.vector_bits]
RANDOM = np.random.default_rng(11)

bands = pytest.mark.skipif(
    not HOST.llvm.triple.startswith("x86"), reason="on ARM a few rows are there at a time"
)


class Case(NamedTuple):
    """A convolution of (ins, height * first_stride, ...), then a window over its result."""

    batch: int = 1
    first: int = 1
    first_stride: int = 1
    bias: bool = True
    window: str = "depthwise"
    ins: int = 12
    channels: int = 96
    height: int = 64
    width: int = 12
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int = 1
    before: str = "Clip"
    after: str = "Clip"


def operator(kind: str, value: str, result: str, prefix: str) -> list:
    """Return nodes of an activation, or of a sum with an input of the same shape."""
    if kind == "Clip":
        return [helper.make_node("Clip", [value, "low", "high"], [result])]
    if kind == "Silu":
        gate = f"{prefix}_gate"
        return [
            helper.make_node("Sigmoid", [value], [gate]),
            helper.make_node("Mul", [value, gate], [result]),
        ]
    if kind == "Add":
        return [helper.make_node("Add", [value, f"{prefix}_residual"], [result])]
    return [helper.make_node("Identity", [value], [result])]


def window_node(case: Case, value: str, weight: str, result: str, name: str) -> NodeProto:
    """Return a depthwise convolution, or a pool: "max", "average", or that without its border."""
    window = {
        "strides": [case.stride] * 2,
        "dilations": [case.dilation] * 2,
        "pads": [case.padding] * 4,
    }
    if case.window == "depthwise":
        inputs = [value, weight]
        return helper.make_node("Conv", inputs, [result], name, group=case.channels, **window)
    window["kernel_shape"] = [case.kernel] * 2
    if case.window == "max":
        return helper.make_node("MaxPool", [value], [result], name, **window)
    included = int(case.window == "average")
    return helper.make_node(
        "AveragePool", [value], [result], name, count_include_pad=included, **window
    )


def build(cases: list[Case], *, shared: bool = False) -> tuple:
    """Return a model of pairs side by side, and inputs; `shared` images are results as well."""
    constants: Arrays = {"low": np.float32(0), "high": np.float32(6)}
    nodes, inputs, outputs = [], {}, []
    for i, case in enumerate(cases):
        sides = [side * case.first_stride for side in (case.height, case.width)]
        x = RANDOM.standard_normal((case.batch, case.ins, *sides), np.float32)
        span = (case.kernel - 1) * case.dilation + 1
        size = [(n + 2 * case.padding - span) // case.stride + 1 for n in (case.height, case.width)]
        shapes = {
            f"p{i}": (case.channels, case.ins, case.first, case.first),
            f"d{i}": (case.channels, 1, case.kernel, case.kernel),
            f"b{i}": (case.channels,),
        }
        constants |= {
            name: RANDOM.standard_normal(shape, np.float32) for name, shape in shapes.items()
        }
        inputs[f"x{i}"] = x
        if case.before == "Add":
            inputs[f"before{i}_residual"] = RANDOM.standard_normal(
                (case.batch, case.channels, case.height, case.width), np.float32
            )
        if case.after == "Add":
            inputs[f"after{i}_residual"] = RANDOM.standard_normal(
                (case.batch, case.channels, *size), np.float32
            )
        around = case.first - 1
        nodes += [
            helper.make_node(
                "Conv",
                [f"x{i}", f"p{i}", f"b{i}"] if case.bias else [f"x{i}", f"p{i}"],
                [f"u{i}"],
                f"conv{i}",
                strides=[case.first_stride] * 2,
                pads=[around // 2, around // 2, around - around // 2, around - around // 2],
            ),
            *operator(case.before, f"u{i}", f"v{i}", f"before{i}"),
            window_node(case, f"v{i}", f"d{i}", f"w{i}", f"window{i}"),
            *operator(case.after, f"w{i}", f"y{i}", f"after{i}"),
        ]
        outputs += [f"v{i}", f"y{i}"] if shared else [f"y{i}"]
    return graph_model(nodes, inputs, outputs, constants), inputs


def compiled(
    model,
    inputs: Arrays,
    *,
    l2_kib: int,
    bits: int = 0,
    target: Target = HOST,
    cores: int = 2,
    l2_shared: bool = False,
) -> Artifact:
    """Compile with a second-level cache and vectors of that size; 0 for the target's own.

    `cores` and whether they share that cache are of the host alone.
    """
    cpu = replace(target.cpu, l2_kib=l2_kib, vector_bits=bits or target.cpu.vector_bits)
    if target is HOST:
        cpu = replace(cpu, l1d_kib=48, cores=cores, l2_shared=l2_shared)
    target = replace(target, cpu=cpu)
    emit = Emit.LIB if target.name == HOST.name else Emit.BUNDLE
    return compile_exported(exported(model, inputs), target, emit=emit)


def joined(artifact: Artifact) -> set[int]:
    """Return the numbers of the pairs that are one kernel."""
    return {
        int(layer.removeprefix("conv"))
        for step in artifact.plan.steps
        for layer in step.layers
        if layer.replace("conv", "window") in set(step.layers) - {layer}
    }


def check(artifact: Artifact, model, inputs: Arrays, cases: list[Case], threads: int = 2) -> None:
    if artifact.manifest.target.name == HOST.name:
        got = run_library(artifact, inputs, threads)
    else:
        got = open_session(artifact).run(inputs, threads=threads)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        case = cases[int(name[1:])]
        products = case.ins * case.first**2 * case.kernel**2
        assert_close(got[name], want, max(128, products), name)


CASES = st.builds(
    Case,
    batch=st.integers(1, 2),
    first=st.sampled_from([1, 1, 2, 3, 5]),
    first_stride=st.sampled_from([1, 1, 2]),
    bias=st.booleans(),
    window=st.sampled_from(["depthwise", "max", "average", "average inside"]),
    ins=st.integers(1, 20),
    channels=st.integers(30, 130),
    height=st.integers(30, 90),
    width=st.sampled_from([8, 12, 14, 16, 21]),
    kernel=st.sampled_from([2, 3, 5]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 3),
    before=st.sampled_from(["", "Clip", "Silu", "Add"]),
    after=st.sampled_from(["", "Clip", "Silu", "Add"]),
).filter(
    lambda case: (
        (case.kernel - 1) * case.dilation < case.width + 2 * case.padding
        # Pools have no windows of padding alone.
        and (case.window == "depthwise" or 2 * case.padding <= case.kernel)
        and (case.padding < case.kernel)
    )
)


@settings(max_examples=6, deadline=None)
@given(
    cases=st.lists(CASES, min_size=3, max_size=5),
    l2_kib=st.sampled_from([32, 64, 128]),
    cores=st.integers(1, 5),
    l2_shared=st.booleans(),
)
def test_any_pair_is_right(cases: list[Case], l2_kib: int, cores: int, l2_shared: bool) -> None:
    model, inputs = build(cases)
    artifact = compiled(model, inputs, l2_kib=l2_kib, cores=cores, l2_shared=l2_shared)
    check(artifact, model, inputs, cases)


@pytest.mark.parametrize("target", ARM, ids=lambda target: target.name)
@settings(max_examples=3, deadline=None)
@given(cases=st.lists(CASES, min_size=3, max_size=5), l2_kib=st.sampled_from([32, 64, 128]))
def test_any_pair_is_right_on_arm(target: Target, cases: list[Case], l2_kib: int) -> None:
    model, inputs = build(cases)
    check(compiled(model, inputs, l2_kib=l2_kib, target=target), model, inputs, cases)


# A second-level cache of that size is less than an image of theirs, and has room for a band.
L2_KIB = 256
PAIRS = [
    Case(),
    Case(batch=2, channels=89, before="Silu", after="Add"),
    Case(stride=2, before="", after="Silu"),
    Case(kernel=5, padding=2, height=80),
    Case(kernel=2, padding=0, height=65),
    Case(dilation=2, padding=2, height=80, ins=3),
    Case(window="max", stride=2, before="", bias=False),
    Case(window="average", kernel=2, stride=2, padding=0),
    Case(window="max", stride=2, first=7, first_stride=2, ins=3),
    Case(first=3, first_stride=2, ins=3, before="Silu"),
    Case(window="average inside", first=5, ins=2, batch=2, height=80, after="Add"),
]


@pytest.mark.parametrize("bits", WIDTHS)
def test_pairs_are_one_kernel_where_the_image_exceeds_the_cache(bits: int) -> None:
    model, inputs = build(PAIRS)
    artifact = compiled(model, inputs, l2_kib=L2_KIB, bits=bits)
    assert joined(artifact) == set(range(len(PAIRS)))
    check(artifact, model, inputs, PAIRS, threads=3)


@pytest.mark.parametrize("target", ARM, ids=lambda target: target.name)
def test_pairs_are_one_kernel_on_arm(target: Target) -> None:
    model, inputs = build(PAIRS)
    artifact = compiled(model, inputs, l2_kib=L2_KIB, target=target)
    assert joined(artifact) == set(range(len(PAIRS)))
    check(artifact, model, inputs, PAIRS, threads=3)


@bands
def test_images_of_which_cores_take_channels_never_pass_between_them() -> None:
    model, inputs = build([Case(height=14, width=14)])
    far, near = (
        compiled(model, inputs, l2_kib=L2_KIB, l2_shared=shared) for shared in (False, True)
    )
    assert joined(far) == {0}
    assert joined(near) == set()
    check(far, model, inputs, [Case()])


def test_images_of_few_channels_are_two_kernels_on_arm() -> None:
    """A task takes all rows of an image there: other threads would wait."""
    cases = [Case(channels=30, height=90, width=21), Case(channels=32, height=260)]
    model, inputs = build(cases)
    artifact = compiled(model, inputs, l2_kib=32, target=ARM[0])
    assert joined(artifact) == set()
    check(artifact, model, inputs, cases, threads=3)


def test_a_ring_of_rows_is_all_that_a_task_needs_on_arm() -> None:
    case = Case(stride=2)
    model, inputs = build([case])
    artifact = compiled(model, inputs, l2_kib=L2_KIB, target=ARM[0])
    rows = case.kernel * case.width * case.channels * 4
    assert 0 < artifact.plan.scratch_bytes <= rows // 8


@pytest.mark.parametrize("target", [HOST, ARM[0]], ids=lambda target: target.name)
def test_images_that_are_never_whole_need_no_memory(target: Target) -> None:
    model, inputs = build([Case(ins=64, stride=2)])
    small, large = (compiled(model, inputs, l2_kib=size, target=target) for size in (L2_KIB, 4096))
    image = 96 * 64 * 12 * 4
    assert joined(small) == {0}
    assert joined(large) == set()
    assert large.plan.arena_bytes - small.plan.arena_bytes > image // 2


@pytest.mark.parametrize(
    ("case", "shared"),
    [
        (Case(height=32, channels=80), False),  # an image that fits the cache
        (Case(first=3, ins=64, after=""), False),  # by Winograd's algorithm
        (Case(first=5, ins=64), False),  # weights that do not stay near
        pytest.param(  # rows that cost more again than from memory
            Case(first=5, ins=10, height=120, kernel=5, padding=2), False, marks=bands
        ),
        (Case(), True),  # one that others read too
        (Case(width=129), False),  # rows that no tile divides
        pytest.param(Case(width=120, kernel=5, padding=2), False, marks=bands),  # of a row each
        (Case(stride=3, padding=0, width=16), False),  # a column that no window reaches
        (Case(kernel=7, padding=3), False),  # more taps than are unrolled
    ],
)
def test_other_pairs_are_two_kernels(case: Case, shared: bool) -> None:
    model, inputs = build([case], shared=shared)
    artifact = compiled(model, inputs, l2_kib=L2_KIB)
    assert joined(artifact) == set()
    check(artifact, model, inputs, [case])
