"""Grouped convolutions whose sums turn among the lanes of their groups."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import assert_close, compile_model, run_model
from test_convolution import Case, build
from tvm import te

from edgeconv import host
from edgeconv.compiler.codegen.lower import compile_kernel
from edgeconv.compiler.compute.conv import conv_turning
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.passes.layout.convolutions import grouped
from edgeconv.compiler.schedules.machine import Machine, turning_columns
from edgeconv.compiler.schedules.registry import apply_rule
from edgeconv.devices import open_session
from edgeconv.target import Llvm

# Register files of the x86-64 levels: bits of a vector, vectors.
VECTORS = {"2": (128, 16), "3": (256, 16), "4": (512, 32)}
LEVEL = host.x86_level(host.cpu_flags()) if platform.machine() == "x86_64" else 0
AVX512 = Machine(16, 32, lane_fma=False, l1_bytes=48 << 10, l2_bytes=2 << 20)

# Every width of a group, of kernels with one to three axes of taps, and of a single row of them.
AWKWARD = [
    Case(2, 40, 40, 20, (7, 11), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "Relu"),
    Case(1, 20, 20, 5, (9, 29), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True),
    Case(1, 64, 64, 8, (6, 57), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "Relu"),
    Case(1, 48, 48, 12, (13, 13), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), False),
    Case(2, 32, 32, 4, (11, 10), (5, 4), (1, 2), (2, 1), (4, 1, 4, 2), True),
    Case(1, 16, 16, 8, (5, 17), (1, 3), (1, 1), (1, 1), (0, 1, 0, 1), True, "Relu"),
    Case(1, 32, 32, 8, (9, 6), (3, 1), (1, 1), (1, 1), (1, 0, 1, 0), False, "Relu"),
    Case(2, 24, 24, 6, (31,), (5,), (1,), (1,), (2, 2), True),
    Case(1, 16, 16, 2, (4, 5, 6), (2, 3, 3), (1, 1, 1), (1, 1, 1), (0, 1, 1, 1, 1, 1), True),
    Case(1, 32, 32, 16, (3, 1), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True),
]


@pytest.fixture(autouse=True)
def turned(monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """Let sums turn on every processor; the list gets the window of each such convolution."""
    windows: list[Window] = []

    def noted(data: te.Tensor, weight: te.Tensor, window: Window, **options: object) -> te.Tensor:
        windows.append(window)
        return conv_turning(data, weight, window, **options)

    monkeypatch.setattr(Machine, "shuffles_delay", True)
    monkeypatch.setattr(grouped, "conv_turning", noted)
    return windows


def check(cases: list[Case], target: str) -> None:
    model, inputs, want = build(cases)
    if target == "host":
        got = run_model(model, inputs)
    else:
        got = open_session(compile_model(model, inputs, target), None).run(inputs)
    for i, case in enumerate(cases):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))


@pytest.mark.parametrize("level", VECTORS)
def test_turning_sums_are_right_in_vectors_of_every_width(
    level: str, tmp_path: Path, turned: list[Window]
) -> None:
    if int(level) > LEVEL:
        pytest.skip(f"this machine does not run x86-64-v{level}")
    path = tmp_path / "level.toml"
    bits, registers = VECTORS[level]
    path.write_text(f"""
        name = "level"
        description = "One level of x86-64"
        detect = true
        [llvm]
        cpu = "x86-64-v{level}"
        [toolchain]
        cpu = "x86_64_v{level}"
        [cpu]
        vector_bits = {bits}
        vector_registers = {registers}
        """)
    check(AWKWARD, str(path))
    narrow = [case for case in AWKWARD if case.channels // case.groups < bits // 32]
    assert len(turned) == len(narrow)


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_turning_sums_are_right_under_emulation(target: str, turned: list[Window]) -> None:
    check(AWKWARD, target)
    assert turned


@st.composite
def any_case(draw: st.DrawFn) -> Case:
    per_group, groups = draw(st.sampled_from([2, 4, 8])), draw(st.integers(2, 12))
    channels = per_group * groups
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int, count: int = rank) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    return Case(
        batch=draw(st.integers(1, 2)),
        channels=channels,
        out_channels=channels,
        groups=groups,
        size=(*each(7, 9, rank - 1), draw(st.integers(7, 40))),
        kernel=each(1, 4),
        stride=each(1, 2),
        dilation=each(1, 2),
        pads=each(0, 2, 2 * rank),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from([None, "Relu"])),
    )


@settings(max_examples=8, deadline=None)
@given(st.lists(any_case(), min_size=3, max_size=3))
def test_any_turning_sum_is_right(cases: list[Case]) -> None:
    check(cases, "host")


@pytest.mark.parametrize("channels", [2, 4, 8])
@pytest.mark.parametrize("width", [14, 28, 56, 57, 112])
def test_a_sum_is_shuffled_once_a_channel_and_stays_in_its_register(
    channels: int, width: int
) -> None:
    columns = turning_columns(width, 3, AVX512)
    computed = -(-width // columns) * columns
    data = te.placeholder((1, 4, 30, computed + 2, 16), name="data")
    weight = te.placeholder((4, channels, 3, 3, 16), name="weight")
    window = Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1))
    result = conv_turning(data, weight, window, size=(28, width), columns=computed)
    scheduled = apply_rule(te.create_prim_func([data, weight, result]), AVX512)
    llvm = Llvm("x86_64-linux-gnu", "x86-64-v4")
    text = compile_kernel(scheduled, "kernel", llvm, listing=True).assembly
    assert len(re.findall(r"\tv(?:perm|shuf)\w*\t.*zmm", text)) == columns
    assert not re.search(r"\(%rsp.*zmm|zmm.*\(%rsp", text)
