"""The model that chooses Winograd's tiles, chunks and runs of channels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgeconv.compiler.schedules.cpu.runs import Products
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine
from edgeconv.compiler.schedules.winograd import Layer, choose, direct_cost
from edgeconv.target import load_target


def test_runs_leave_room_in_the_first_level_cache() -> None:
    machine = Machine.of(load_target("rasp4"))
    many = Products(channels=512, taps=1, in_block=4, rows=16, columns=4, tiles=6)
    assert many.run(machine) == 128
    # A second tap of few channels is a run of its own.
    assert replace(many, channels=128, taps=2).run(machine) == 128
    # All fits; nothing meets the weights again; no number of blocks divides the channels.
    assert replace(many, channels=128).run(machine) == 0
    assert replace(many, tiles=1).run(machine) == 0
    assert replace(many, channels=4 * 131).run(machine) == 0
    assert many.run(replace(machine, l2_shared=False)) == 0
    assert many.line_slots(machine) < replace(many, channels=4 * 131).line_slots(machine)


def layer(channels: int, out_channels: int, side: int, machine: Machine) -> Layer:
    block = machine.lanes
    return Layer(
        1, side, side, 1, 1, channels, channels // block, block, out_channels // block, block
    )


@pytest.mark.parametrize(("channels", "side", "m"), [(16, 14, 0), (16, 56, 4), (32, 14, 2)])
def test_groups_of_one_vector_take_large_tiles_or_none(channels: int, side: int, m: int) -> None:
    """Measured with AVX-512: direct sums of 16 channels take 0.8 times as long as tiles of 2x2."""
    machine = Machine(16, 32, False, 48 << 10, l2_bytes=2 << 20, l3_bytes=32 << 20, cores=2)
    grouped = Layer(1, side, side, 1, 512 // channels, channels, 32, 16, 32, 16)
    budget = direct_cost(grouped, machine)
    small = choose(grouped, [2], machine, budget)
    assert (small is not None) == (m == 2)
    large = choose(grouped, [2, 4], machine, budget)
    assert (large is not None) == (m > 0)


@pytest.mark.parametrize("target", ["rasp4", "rasp2"])
def test_the_model_takes_large_tiles_for_large_images(target: str) -> None:
    machine = Machine.of(load_target(target))
    large = layer(64, 64, 56, machine)
    budget = direct_cost(large, machine)
    chosen = choose(large, [2, 4], machine, budget)
    assert chosen is not None
    assert chosen[0].m == 4
    only_small = choose(large, [2], machine, budget)
    assert only_small is not None
    assert only_small[0].m == 2
    assert choose(large, [], machine, budget) is None
    assert choose(large, [2, 4], machine, budget / 9) is None


def test_the_model_counts_the_way_of_the_weights() -> None:
    """Where an image has few tiles, large ones cost more memory than they save arithmetic."""
    machine = Machine.of(load_target("rasp4"))
    small = layer(512, 512, 7, machine)
    chosen = choose(small, [2, 4], machine, direct_cost(small, machine))
    assert chosen is not None
    assert chosen[0].m == 2


def test_chunks_of_two_threads_keep_within_five_megabytes() -> None:
    machine = replace(Machine.of(load_target("rasp4")), l2_bytes=512 << 10, l3_bytes=32 << 20)
    for channels, side in [(128, 256), (256, 128), (512, 64), (1024, 32), (1024, 16)]:
        wide = layer(channels, channels, side, machine)
        chosen = choose(wide, [4], machine, math.inf)
        assert chosen is not None
        tiling, tile = chosen
        channels_kept = channels + tile.blocks * machine.lanes
        kept = tiling.side**2 * tiling.rows * tiling.across * channels_kept * FLOAT_BYTES
        assert 2 * kept < 5e6, tiling


def test_small_tiles_are_for_third_level_caches() -> None:
    """Their transformed input, which is larger, comes from there."""
    alone = Machine(16, 32, lane_fma=False, l1_bytes=32 << 10, l2_bytes=512 << 10)
    small = layer(512, 512, 12, alone)
    for machine, m in [(alone, 4), (replace(alone, l3_bytes=32 << 20), 2)]:
        chosen = choose(small, [2, 4], machine, math.inf)
        assert chosen is not None
        assert chosen[0].m == m


def test_two_cores_share_the_chunks_of_an_image_evenly() -> None:
    """Fourteen rows of tiles: in chunks of two rows, seven, one core waits for the other."""
    one = Machine(8, 16, lane_fma=False, l1_bytes=32 << 10, l2_bytes=512 << 10, l3_bytes=32 << 20)
    chunks = []
    for machine in (one, replace(one, cores=2)):
        chosen = choose(layer(64, 64, 56, machine), [4], machine, math.inf)
        assert chosen is not None
        chunks.append(-(-14 // chosen[0].rows) * -(-14 // chosen[0].across))
    assert chunks == [7, 14]


@pytest.mark.parametrize(("channels", "size"), [(32, 28), (64, 28), (64, 14), (128, 7)])
def test_two_cores_share_small_layers(channels: int, size: int) -> None:
    """One core alone would compute the one chunk's few channels, or fetch what another wrote."""
    machine = Machine(
        16, 32, lane_fma=False, l1_bytes=48 << 10, l2_bytes=2 << 20, l3_bytes=32 << 20, cores=2
    )
    small = layer(channels, channels, size, machine)
    for cores in (1, 2):
        chosen = choose(small, [2, 4], replace(machine, cores=cores), math.inf)
        assert chosen is not None
        tiling = chosen[0]
        tiles = -(-size // tiling.m)
        chunks = -(-tiles // tiling.rows) * -(-tiles // tiling.across)
        assert (chunks * tiling.parts > 1) == (cores > 1)


@pytest.mark.parametrize(("channels", "size"), [(128, 28), (256, 14), (512, 7)])
def test_cores_that_are_far_transform_the_input_themselves(channels: int, size: int) -> None:
    """It is a few hundredths of the work, and larger than the image."""
    machine = Machine(
        16, 32, lane_fma=False, l1_bytes=48 << 10, l2_bytes=2 << 20, l3_bytes=32 << 20, cores=2
    )
    for shared, parts in [(False, 2), (True, 1)]:
        near = replace(machine, l2_shared=shared)
        chosen = choose(layer(channels, channels, size, near), [2, 4], near, math.inf)
        assert chosen is not None
        assert chosen[0].parts == parts


@pytest.mark.parametrize(("channels", "size"), [(240, 14), (464, 7)])
def test_cores_get_as_many_blocks_each_of_an_odd_number(channels: int, size: int) -> None:
    """Of fifteen blocks in tiles of three, one core would compute three tiles and one two."""
    machine = Machine(
        16, 32, lane_fma=False, l1_bytes=48 << 10, l2_bytes=2 << 20, l3_bytes=32 << 20, cores=2
    )
    chosen = choose(layer(256, channels, size, machine), [2, 4], machine, math.inf)
    assert chosen is not None
    panels = -(-channels // (16 * chosen[1].blocks))
    assert chosen[0].parts == 2
    assert panels % 2 == 0
