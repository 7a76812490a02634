"""Where the last tile of a row is narrower, the loops inside it know that beforehand."""

from __future__ import annotations

import re

import pytest
from tvm import te, tirx

from edgeconv.compiler.codegen.lower import compile_kernel
from edgeconv.compiler.codegen.tails import decide_in_tails
from edgeconv.compiler.compute.conv import pointwise_blocked
from edgeconv.compiler.schedules.machine import Machine, pixel_tile, tile_counts
from edgeconv.compiler.schedules.registry import apply_rule
from edgeconv.target import Llvm

LLVM = Llvm(triple="x86_64-linux-gnu", cpu="x86-64-v3")
MACHINE = Machine(8, 16, lane_fma=False, l1_bytes=32 << 10, l2_bytes=512 << 10)
# A loop's body, from its label to the jump back, without other labels.
LOOP = re.compile(r"^(\.LBB\w+):\n((?:(?!^\.LBB).*\n)*?).*\tj\w+\t\1$", re.MULTILINE)


def assembly(channels: int, blocks: int, pixels: int) -> str:
    lanes = MACHINE.lanes
    tile = pixel_tile(pixels, tile_counts(blocks), MACHINE, block=lanes, in_block=lanes)
    data = te.placeholder((1, channels // lanes, pixels, lanes))
    weight = te.placeholder((blocks // tile.blocks, channels, tile.blocks, lanes))
    function = te.create_prim_func([data, weight, pointwise_blocked(data, weight, (pixels,))])
    scheduled = apply_rule(function, MACHINE)
    assert "pragma_loop_partition_hint" in scheduled.script(), "all tiles are alike"
    return compile_kernel(scheduled, "kernel", LLVM, listing=True).assembly


@pytest.mark.parametrize(
    ("channels", "blocks", "pixels"),
    [(64, 16, 49), (256, 40, 1089), (1024, 32, 49), (384, 12, 3137), (96, 6, 121)],
    ids=["one task", "runs of channels", "runs, one task", "a chunk that is not full", "small"],
)
def test_every_multiply_add_is_in_a_loop_without_conditions(
    channels: int, blocks: int, pixels: int
) -> None:
    text = assembly(channels, blocks, pixels)
    in_loops = sum(loop.count("vfmadd") for _, loop in LOOP.findall(text))
    # The tile, and the narrower one.
    assert len(LOOP.findall(text)) >= 2
    assert in_loops == text.count("vfmadd") > 0


def test_loops_as_long_as_data_say_stay() -> None:
    count = tirx.decl_buffer((1,), "int64", "count")
    out = tirx.decl_buffer((8,), "float32", "out")
    place = tirx.Var("place", "int64")
    store = tirx.BufferStore(out, tirx.const(1.0, "float32"), [place])
    extent = tirx.BufferLoad(count, [0])
    loop = tirx.For(place, tirx.IntImm("int64", 0), extent, tirx.ForKind.SERIAL, store)
    function = tirx.PrimFunc([count, out], loop)
    assert decide_in_tails(function).script() == function.script()
