"""How many results a GPU's work-item takes, by how many work-items keep the GPU busy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.compiler.schedules.gpu.machine import GpuMachine, machine_of
from edgeconv.compiler.schedules.gpu.tiles import block_counts, choose_tile
from edgeconv.target import list_targets, load_target


def machine(target: str) -> GpuMachine:
    found = machine_of(load_target(target))
    assert isinstance(found, GpuMachine)
    return found


def test_lanes_have_work_while_results_are_on_their_way() -> None:
    # Four cores of 64 lanes; twelve of 4, which two waves keep busy.
    assert machine("mali-g610").busy == 4 * 4 * 64
    assert machine("videocore-7").busy == 12 * 2 * 16
    for target in list_targets():
        if target.gpu:
            busy = machine(target.name).busy
            assert busy >= target.gpu.compute_units * target.gpu.fma_lanes_per_cycle
            assert busy >= 2 * target.gpu.compute_units * target.gpu.wave


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from([1, 2, 3, 4, 8, 16]),
    st.integers(1, 256),
    st.integers(2, 16),
)
def test_a_wider_gpu_takes_no_larger_tiles(
    width: int, rows: int, blocks: int, lanes: int, times: int
) -> None:
    narrow = replace(machine("mali-g610"), fma_lanes_per_cycle=lanes)
    wide = replace(narrow, fma_lanes_per_cycle=times * lanes)

    def items(gpu: GpuMachine) -> float:
        tile = choose_tile(width, rows * blocks, block_counts(blocks), gpu)
        return -(-width // tile.columns) * rows * blocks / tile.blocks

    assert items(wide) >= items(narrow) or items(narrow) >= wide.busy
