"""Weights are asked for before they are needed: the next panel's lines, while one is read."""

from __future__ import annotations

import itertools

import pytest
import tvm
import tvm_ffi
from tvm import IRModule, s_tir, te, tirx
from tvm.sym import Analyzer

from edgeconv.compiler.codegen import lower
from edgeconv.compiler.codegen.prefetch import prefetch_streams
from edgeconv.compiler.compute.conv import pointwise_blocked
from edgeconv.compiler.schedules.cpu.accumulate import PASSES, STREAM
from edgeconv.compiler.schedules.machine import Machine
from edgeconv.compiler.schedules.registry import apply_rule

LINE = 16  # floats
PANELS, TAPS, CHANNELS = 2, 3, 8


def product(passes: int, step: int) -> tirx.PrimFunc:
    """Sum panels of weights, each met `passes` times, `step` floats in an iteration."""
    weight = te.placeholder((PANELS, TAPS, CHANNELS, step), "float32", "w")
    tap, channel = te.reduce_axis((0, TAPS)), te.reduce_axis((0, CHANNELS))
    result = te.compute(
        (PANELS, passes, step),
        lambda p, q, lane: te.sum(weight(p, tap, channel, lane), axis=[tap, channel]),
        "result",
    )
    sch = s_tir.Schedule(te.create_prim_func([weight, result]))
    block = sch.get_sblock("result")
    panel, number, lane, outer, inner = sch.get_loops(block)
    task = sch.fuse(panel, number)
    vector, lane = sch.split(lane, [None, 8])
    sch.reorder(task, outer, inner, vector, lane)
    sch.annotate(task, PASSES, passes)
    sch.annotate(inner, STREAM, "w")
    sch.unroll(vector)
    sch.vectorize(lane)
    sch.decompose_reduction(block, outer)
    module = lower._unrolling()(lower._flattening()(IRModule({"main": sch.mod["main"]})))
    return prefetch_streams(module["main"])


def requests(function: tirx.PrimFunc) -> dict[tuple[int, ...], list[int]]:
    """Return the places in the weights that each iteration (task, tap, channel) asks for."""
    places: list[object] = []
    loops: list[tirx.For] = []

    def note(call: tvm.ir.Call) -> None:
        if str(call.op.name) == "tirx.prefetch":
            places.append(call.args[0].args[0].indices[-1])

    tvm_ffi.structural_walk(function.body, [(tvm.ir.Call, note), (tirx.For, loops.append)])
    # Loops come after those in them; the first are those that set the sums to zero, unrolled.
    channel, tap, task = (loop for loop in loops if int(loop.extent) > 1)
    assert all(not {PASSES, STREAM} & set(loop.annotations) for loop in loops)
    found = {}
    for values in itertools.product(*(range(int(loop.extent)) for loop in (task, tap, channel))):
        analyzer = Analyzer()
        for loop, value in zip((task, tap, channel), values, strict=True):
            analyzer.bind(loop.loop_var, tirx.IntImm("int32", value))
        found[values] = [int(analyzer.simplify(place)) for place in places]
    return found


@pytest.mark.parametrize(
    ("passes", "step"), [(2, 64), (3, 64), (4, 32), (5, 64), (7, 16), (8, 64), (40, 64)]
)
def test_the_passes_over_a_panel_share_the_lines_of_the_next(passes: int, step: int) -> None:
    panel = TAPS * CHANNELS * step
    found = requests(product(passes, step))
    for number in range(PANELS):
        lines = [
            place // LINE
            for (task, _, _), places in found.items()
            if task // passes == number
            for place in places
        ]
        wanted = range((number + 1) * panel // LINE, (number + 2) * panel // LINE)
        assert set(wanted) <= set(lines)
        # Shares are rounded up to whole floats.
        assert min(lines) >= wanted.start
        assert max(lines) < wanted.start + 1.4 * len(wanted)
    # One pass does what the others do.
    shares = {len(places) for places in found.values()}
    assert shares == {-(-step // passes // LINE) or 1}


def test_a_panel_that_is_met_once_is_asked_for_a_page_ahead() -> None:
    for (task, tap, channel), places in requests(product(1, 32)).items():
        start = ((task * TAPS + tap) * CHANNELS + channel) * 32
        assert places == [start + 1024, start + 1024 + LINE]


@pytest.mark.parametrize(
    ("l2_kib", "panels", "asks"), [(2048, 4, True), (2048, 1, False), (512, 4, False)]
)
def test_pointwise_layers_ask_for_a_next_panel_where_it_is_far(
    l2_kib: int, panels: int, asks: bool
) -> None:
    machine = Machine(16, 32, False, 48 << 10, l2_kib << 10, l3_bytes=64 << 20)
    data = te.placeholder((1, 12, 49, 16), "float32", "x")
    weight = te.placeholder((panels, 192, 3, 16), "float32", "w")
    result = pointwise_blocked(data, weight, (7, 7))
    module = apply_rule(te.create_prim_func([data, weight, result]), machine)
    function = prefetch_streams(lower._unrolling()(lower._flattening()(module))["main"])
    assert ("prefetch" in str(function)) == asks
