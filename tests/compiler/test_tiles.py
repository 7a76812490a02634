"""Register tiles, by the model of a core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.compiler.schedules.machine import Machine, few_pixels, image_tile, tile_counts

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
def test_small_images_with_much_weight_take_several_rows(machine: Machine) -> None:
    assert tile_of((4, 4), 32, 4096, machine).rows > 1
    assert not few_pixels((56, 56))
    assert tile_of((56, 56), 32, 4096, machine).rows == 1
