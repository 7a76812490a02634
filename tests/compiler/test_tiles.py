"""Register tiles, by the model of a core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.compiler.schedules.machine import (
    MIN_BLOCK,
    Machine,
    channel_block,
    few_pixels,
    image_tile,
    pixel_tile,
    tile_counts,
)

MACHINES = {
    "x86-64-v4": Machine(16, 32, lane_fma=False, l1_bytes=49152, l2_bytes=2 << 20),
    "x86-64-v3": Machine(8, 16, lane_fma=False, l1_bytes=32768, l2_bytes=1 << 20),
    "a72": Machine(4, 32, lane_fma=True, l1_bytes=32768, l2_bytes=1 << 20),
}


def tile_of(size: tuple[int, ...], blocks: int, depth: int, machine: Machine):
    return image_tile(
        size,
        tile_counts(blocks),
        machine,
        block=machine.lanes,
        in_block=machine.lanes,
        depth=depth,
    )


@given(
    size=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    blocks=st.integers(1, 64),
    depth=st.integers(1, 10_000),
    machine=st.sampled_from(list(MACHINES.values())),
)
def test_tiles_fit_registers_and_divide_rows(size, blocks, depth, machine) -> None:
    tile = tile_of(tuple(size), blocks, depth, machine)
    pixels = tile.rows * tile.columns
    inputs = pixels if machine.lane_fma else 1
    assert pixels * tile.blocks + inputs + tile.blocks < machine.registers or pixels == 1
    assert blocks % tile.blocks == 0
    assert tile.rows == 1 or (size[-2] % tile.rows == 0 and tile.columns == size[-1])


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_small_images_with_much_weight_take_several_rows_or_blocks(machine: Machine) -> None:
    tile = tile_of((4, 4), 32, 4096, machine)
    # Measured with AVX2: 40.8 G multiply-adds a second with two blocks, 36.8 with two rows.
    avx2 = machine is MACHINES["x86-64-v3"]
    assert (tile.blocks == 2 and tile.rows == 1) if avx2 else tile.rows > 1
    assert not few_pixels((56, 56))
    assert tile_of((56, 56), 32, 4096, machine).rows == 1


def columns_of(pixels: int, machine: Machine) -> int:
    counts, block = tile_counts(16), machine.lanes
    return pixel_tile(pixels, counts, machine, block=block, in_block=block).columns


@given(pixels=st.integers(1, 4000))
def test_tiles_for_lanes_of_fmas_are_whole(pixels: int) -> None:
    assert pixels % columns_of(pixels, MACHINES["a72"]) == 0


def test_the_last_tile_is_narrower_only_where_that_helps() -> None:
    machine = MACHINES["x86-64-v3"]
    assert 3136 % columns_of(3136, machine) == 0
    # The divisors are 7 and 49; 1, 3, 9, 11, ...; none.
    assert columns_of(49, machine) in (5, 6)
    assert columns_of(1089, machine) in (5, 6)
    assert columns_of(3137, machine) in (5, 6)


@given(channels=st.integers(1, 300), machine=st.sampled_from(list(MACHINES.values())))
def test_channels_take_the_fewest_registers(channels: int, machine: Machine) -> None:
    block = channel_block(channels, machine)
    widths = [width for width in (4, 8, 16) if MIN_BLOCK <= width <= machine.lanes]
    counts = {width: -(-channels // width) for width in widths}
    assert counts[block] == min(counts.values())
    assert all(counts[width] > counts[block] for width in widths if width < block)
