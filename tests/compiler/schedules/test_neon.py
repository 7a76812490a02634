"""Products on AArch64: every multiply-add is in the assembly that is written for its tile."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import te

from edgeconv.compiler.codegen.lower import compile_kernel
from edgeconv.compiler.codegen.neon import LANES, REGISTERS, Tile
from edgeconv.compiler.compute.conv import conv_blocked, pointwise_blocked
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.schedules.machine import Machine, image_tile, pixel_tile, tile_counts
from edgeconv.compiler.schedules.registry import apply_rule
from edgeconv.target import load_target

BOARD = load_target("rasp4")
MACHINE = Machine.of(BOARD)
IN_ASSEMBLY = re.compile(r"//APP\n(.*?)//NO_APP", re.DOTALL)


def assembly(data: te.Tensor, weight: te.Tensor, result: te.Tensor) -> str:
    scheduled = apply_rule(te.create_prim_func([data, weight, result]), MACHINE)
    return compile_kernel(scheduled, "kernel", BOARD.llvm, listing=True).assembly


def check(text: str) -> None:
    inside = "".join(IN_ASSEMBLY.findall(text))
    assert "fmla" in inside
    assert "[sp" not in inside, "a spilled register"
    assert "fmla" not in IN_ASSEMBLY.sub("", text)


@settings(max_examples=6, deadline=None)
@given(
    channels=st.integers(2, 40).map(lambda blocks: 4 * blocks),
    out_blocks=st.integers(1, 12),
    pixels=st.integers(1, 60),
)
def test_pointwise(channels: int, out_blocks: int, pixels: int) -> None:
    tile = pixel_tile(pixels, tile_counts(out_blocks), MACHINE, block=4, in_block=4)
    data = te.placeholder((1, channels // 4, pixels, 4))
    weight = te.placeholder((out_blocks // tile.blocks, channels, tile.blocks, 4))
    check(assembly(data, weight, pointwise_blocked(data, weight, (pixels,))))


@pytest.mark.parametrize("size", [(5, 13), (4, 4)], ids=["rows", "several rows in a tile"])
@pytest.mark.parametrize("stride", [1, 2])
def test_direct_convolution(size: tuple[int, int], stride: int) -> None:
    channels = 128
    counts, depth = tile_counts(6), 9 * channels
    tile = image_tile(size, counts, MACHINE, block=4, in_block=4, depth=depth)
    columns = -(-size[-1] // tile.columns) * tile.columns
    rows, width = ((extent - 1) * stride + 3 for extent in (size[0], columns))
    data = te.placeholder((1, channels // 4, rows, width, 4))
    weight = te.placeholder((6 // tile.blocks, 3, 3, channels, tile.blocks, 4))
    window = Window((3, 3), (stride, stride), (0, 0), (0, 0), (1, 1))
    result = conv_blocked(data, weight, window, groups=1, size=size, columns=columns)
    check(assembly(data, weight, result))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_groups_of_one_block(stride: int, dilation: int) -> None:
    groups, size = 3, (4, 13)
    tile = image_tile(size, [1], MACHINE, block=4, in_block=4, depth=36)
    columns = -(-size[-1] // tile.columns) * tile.columns
    rows, width = ((extent - 1) * stride + 2 * dilation + 1 for extent in (size[0], columns))
    data = te.placeholder((1, groups, rows, width, 4))
    weight = te.placeholder((groups, 3, 3, 4, 1, 4))
    window = Window((3, 3), (stride, stride), (0, 0), (0, 0), (dilation, dilation))
    result = conv_blocked(data, weight, window, groups=groups, size=size, columns=columns)
    check(assembly(data, weight, result))


@settings(deadline=None)
@given(columns=st.integers(1, 15), vectors=st.integers(1, 8), blocks=st.integers(1, 20))
def test_registers_hold_a_tile(columns: int, vectors: int, blocks: int) -> None:
    count = columns * vectors
    tile = Tile(
        blocks=blocks,
        steps=LANES,
        inputs=tuple(range(0, LANES * columns, LANES)),
        stride=LANES * columns,
        vectors=vectors,
        sums=tuple(range(0, LANES * count, LANES)),
        streams=False,
    )
    if tile.free < 1:
        return
    text = tile.function("tile")
    used = {int(number) for number in re.findall(r"\bv(\d+)\.", text)}
    assert used == set(range(max(used) + 1))
    assert max(used) < REGISTERS
    # A block's products stand once before the loop at most UNROLL times, and UNROLL times in it.
    assert text.count("fmla") % (LANES * count) == 0


@pytest.mark.parametrize(("width", "kernel", "stride"), [(20, 7, 2), (9, 3, 1), (23, 5, 3)])
def test_planes(width: int, kernel: int, stride: int) -> None:
    out_blocks, height = 4, 3
    tile = image_tile(
        (height, width), tile_counts(out_blocks), MACHINE, block=4, in_block=1, depth=9
    )
    columns = -(-width // tile.columns) * tile.columns
    rows, across = ((extent - 1) * stride + kernel for extent in (height, columns))
    data = te.placeholder((1, 3, rows, across, 1))
    weight = te.placeholder((out_blocks // tile.blocks, 3, kernel, kernel, tile.blocks, 4))
    window = Window((kernel, kernel), (stride, stride), (0, 0), (0, 0), (1, 1))
    result = conv_blocked(data, weight, window, groups=1, size=(height, width), columns=columns)
    check(assembly(data, weight, result))
