"""Blocking for caches: what of a matrix product stays near while the rest passes by.

The loops around register tiles are those of Goto and van de Geijn, "Anatomy of High-Performance
Matrix Multiplication" (2008), without copies of the operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, round_up

LINE_BYTES = 64
# Issue slots that a line from the second-level cache costs. ARM: fitted to published times of the
# Raspberry Pi 4. Large x86 cores fetch ahead and hide it.
NEAR_LINE_COST = 18.0
HIDDEN_LINE_COST = 0.1
# And a line from memory.
FAR_LINE_COST = 30.0
# Issue slots around the inner loop of a tile.
TILE_COST = 16
# As many tasks as keep the cores of a board busy to the end.
TASKS = 8


@dataclass(frozen=True)
class Tiles:
    """A matrix product in register tiles.

    Attributes:
        steps: tiles of input.
        panels: tiles of weights.
        depth: length of the sums.
        columns: input vectors of a tile.
        rows: weight vectors of a tile.
        ragged: whether the last tile of input is narrower. A task then takes several, or there is
            one task, so that the loop over them can end before the last.
        parts: cores that share the input, each with chunks of its own; 1 where they need not.
    """

    steps: int
    panels: int
    depth: int
    columns: int
    rows: int
    ragged: bool = False
    parts: int = 1


@dataclass(frozen=True)
class Blocking:
    """A task's `steps` of input and `panels` of weights, and the `depth` that it takes at a time.

    Where that is less than the whole depth, sums wait in memory between the runs.
    """

    steps: int
    panels: int
    depth: int


def choose_blocking(tiles: Tiles, granule: int, machine: Machine) -> Blocking:
    """Choose the blocking that costs the fewest issue slots beside the arithmetic.

    In each run of a task, every panel of weights meets every step of input.

    Args:
        tiles: the product.
        granule: what the depth of a run must be a multiple of, unless there is only one run.
        machine: for which core.
    """
    candidates = (
        Blocking(steps, panels, depth)
        for steps, panels, depth in product(
            _chunks(tiles), _divisors(tiles.panels), _divisors(tiles.depth)
        )
        if depth % granule == 0 or depth == tiles.depth
    )
    return min(
        candidates,
        key=lambda blocking: (
            round(_cost(tiles, blocking, machine), 6),
            -blocking.depth,
            -blocking.steps,
            -blocking.panels,
        ),
    )


def band_count(tiles: int, tile_bytes: int, machine: Machine) -> int:
    """Return in how many bands to take tiles, so that one fills half of the second-level cache."""
    return -(-tiles // max(1, machine.l2_bytes // 2 // tile_bytes))


def _cost(tiles: Tiles, blocking: Blocking, machine: Machine) -> float:
    chunks, groups = -(-tiles.steps // blocking.steps), tiles.panels // blocking.panels
    runs = tiles.depth // blocking.depth
    # A last chunk that is not full runs over the rest in vain.
    count = chunks * blocking.steps * tiles.panels * runs
    slots = count * TILE_COST + _traffic(tiles, blocking, machine)
    if runs > 1:
        # Each run loads and stores the sums, two at a time.
        slots += count * tiles.columns * tiles.rows / machine.lanes
    tasks = chunks * groups
    # Cores whose chunks do not come out even compute parts of others' as well.
    slots *= round_up(chunks, tiles.parts) / chunks
    return slots * (TASKS / tasks if tasks < TASKS else 1)


def _traffic(tiles: Tiles, blocking: Blocking, machine: Machine) -> float:
    """Return the issue slots lost to lines that come into the first-level cache.

    Half of a cache counts: operands and results share it, and it has few ways.
    """
    near = machine.l1_bytes // 2
    chunks, groups = -(-tiles.steps // blocking.steps), tiles.panels // blocking.panels
    column, row = tiles.columns * FLOAT_BYTES, tiles.rows * FLOAT_BYTES
    inputs, weights = tiles.steps * tiles.depth * column, tiles.panels * tiles.depth * row
    slab, panel = blocking.steps * blocking.depth * column, blocking.depth * row
    if weights + tiles.depth * column <= near:
        weight_reads = 1
    else:
        weight_reads = chunks * (1 if panel + blocking.depth * column <= near else blocking.steps)
    input_reads = groups * (1 if slab + panel <= near else blocking.panels)
    runs = tiles.depth // blocking.depth
    # Whole panels are asked for ahead, and are near when their turn comes.
    reach = panel if machine.far_l3 and runs == 1 else weights
    slots = weights * weight_reads * _byte_cost(reach, machine)
    slots += inputs * input_reads * _byte_cost(slab, machine)
    if runs > 1:
        waiting = blocking.steps * blocking.panels * tiles.columns * row
        passes = 1 if waiting + panel <= near else 2 * runs
        slots += chunks * groups * waiting * passes * _byte_cost(waiting, machine)
    return slots


def _byte_cost(reach: int, machine: Machine) -> float:
    """Return the issue slots per byte of an operand of which `reach` bytes are read in turn."""
    if reach > machine.l2_bytes // 2:
        return FAR_LINE_COST / LINE_BYTES
    return (NEAR_LINE_COST if machine.lane_fma else HIDDEN_LINE_COST) / LINE_BYTES


def _chunks(tiles: Tiles) -> Iterator[int]:
    """Yield the numbers of steps that a task can take; only ragged ones need not share evenly."""
    if not tiles.ragged:
        return _divisors(tiles.steps)
    shares = {-(-tiles.steps // tasks) for tasks in range(1, tiles.steps + 1)}
    return (steps for steps in sorted(shares) if steps > 1 or tiles.steps == 1)


def _divisors(value: int) -> Iterator[int]:
    return (d for d in range(1, value + 1) if value % d == 0)
