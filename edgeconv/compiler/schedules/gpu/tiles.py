"""How many results a work-item computes: the more, the fewer loads each takes.

A step of the reduction loads a vector of channels for every column, and a vector of weights for
every one of those channels and every block of results.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import round_up

# A load, in multiply-accumulates of vectors.
LOAD_COST = 1.0
MAX_COLUMNS = 8
MAX_BLOCKS = 4


@dataclass(frozen=True)
class Tile:
    """Output `columns` by `blocks` of channels, which one work-item computes."""

    columns: int
    blocks: int


def block_counts(blocks: int) -> list[int]:
    """Return the numbers of blocks that a tile can have, of `blocks` in a row."""
    return [count for count in range(1, MAX_BLOCKS + 1) if blocks % count == 0]


def choose_tile(
    width: int,
    others: int,
    counts: Iterable[int],
    machine: GpuMachine,
    *,
    reach: tuple[int, int] = (1, 1),
    whole: bool = False,
    phases: int = 1,
) -> Tile:
    """Choose the tile for rows of `width` columns.

    Args:
        width: columns of a row.
        others: rows and blocks of channels that the output has, and images of a batch.
        counts: numbers of blocks that a tile may have.
        machine: for which GPU.
        reach: input columns of one output column, and how many more each further one takes.
        whole: whether tiles may not reach beyond `width`.
        phases: results of each column and channel, which are computed one after the other.
    """

    def cost(tile: Tile) -> tuple[float, int, int]:
        found = slots(tile, width, others, machine, inputs=tile.columns)
        return round(found, 9), -tile.blocks, tile.columns

    tiles = [
        Tile(columns, blocks)
        for blocks in counts
        for columns in range(1, min(width, MAX_COLUMNS) + 1)
        if not (whole and width % columns) and _fits(columns, blocks, phases, reach, machine)
    ]
    return min(tiles or [Tile(1, 1)], key=cost)


def slots(
    tile: Tile,
    width: int,
    others: int,
    machine: GpuMachine,
    *,
    inputs: float,
    multiply: float = 1.0,
) -> float:
    """Return the time per multiply-accumulate of vectors, in those of a GPU that only computes.

    Args:
        tile: what a work-item computes.
        width: columns of a row.
        others: as for `choose_tile`.
        machine: for which GPU.
        inputs: vectors of the data that a step loads.
        multiply: what a multiply-accumulate of vectors takes.
    """
    across = -(-width // tile.columns)
    work = tile.columns * tile.blocks * machine.lanes
    loads = inputs + tile.blocks * machine.lanes
    items = across * others / tile.blocks
    # A GPU that is half empty takes half as long for the half of the work.
    filled = min(1.0, items / machine.busy)
    useful = width / (across * tile.columns)
    return (multiply + LOAD_COST * loads / work) / (useful * max(filled, 1e-9))


def _fits(
    columns: int, blocks: int, phases: int, reach: tuple[int, int], machine: GpuMachine
) -> bool:
    """Whether sums, a row of inputs and the weights of one channel stay in registers."""
    inputs = min(reach[0] + (columns - 1) * reach[1], 2 * MAX_COLUMNS)
    vectors = columns * blocks * phases + inputs + blocks
    return columns * blocks == 1 or vectors * machine.lanes + 8 <= round_up(machine.registers, 32)
