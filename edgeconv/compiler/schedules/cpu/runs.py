"""Runs of input channels, whose weights stay in the first-level cache while many tiles meet them.

Where the weights of a direct convolution's tile would not stay near from one tile to the next, a
row of tiles, or an image of few, takes a run of channels at a time. Its weights stand together in
memory: those of taps that are a power of two apart would displace each other.

Where cores wait for the second-level cache, so do `Products` of inputs that were gathered into it,
Winograd's tiles and samples of deformable convolutions, for all register tiles that meet a panel of
weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.cpu.accumulate import in_block, tile_blocks
from edgeconv.compiler.schedules.cpu.blocking import LINE_BYTES, NEAR_LINE_COST, TASKS
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    LOAD_COST,
    Machine,
    RegisterTile,
    divisors,
    register_tile,
)

# Weights that come near for fewer tiles are not read often enough.
MIN_TILES = 4
# Blocks of a register tile of `Products` there, at most: with fewer columns, loads are many.
MAX_BLOCKS = 4
# Channels of a run of theirs, at least: shorter inner loops are not worth their start.
MIN_RUN = 16


def channel_run(
    size: Sequence[int],
    kernel: Sequence[int],
    channels: int,
    tile: RegisterTile,
    machine: Machine,
    *,
    block: int,
    in_block: int,
    panels: int,
    batch: int,
    skips: bool,
) -> int:
    """Return how many channels a tile takes at a time, whole blocks of them; 0 for all.

    Args:
        size: spatial shape of the output.
        kernel: extent of the kernel along each of those axes.
        channels: input channels that an output sums.
        tile: the register tile.
        machine: for which core.
        block: channels of a block of the output.
        in_block: channels of a block of the input.
        panels: of weights, of `tile.blocks` blocks each.
        batch: number of samples.
        skips: whether taps that read padding alone are left out.
    """
    panel = prod(kernel) * channels * tile.blocks * block * FLOAT_BYTES
    if in_block == 1 or stays_near(panel, machine, skips=skips):
        return 0
    if not takes_rows(size, tile):
        apart = rows_apart(kernel, panels * panel, machine)
        if skips or not _takes_images(size, tile, apart, batch * panels, machine):
            return 0
    most = max(in_block, machine.l1_bytes // 2 * channels // panel)
    runs = (n for n in range(in_block, channels, in_block) if channels % n == 0 and n <= most)
    return max(runs, default=0)


def stays_near(panel: int, machine: Machine, *, skips: bool = False) -> bool:
    """Whether every tile finds all its weights, `panel` bytes, near from the tile before it."""
    if skips:
        # A run stores its sums once for each tap, so it must save more.
        return panel <= machine.l2_bytes // 2
    # Large x86 cores fetch ahead from the second-level cache, and hide most of the way.
    return panel <= (machine.l1_bytes // 2 if machine.lane_fma else machine.l2_bytes // 4)


def takes_rows(size: Sequence[int], tile: RegisterTile) -> bool:
    """Whether runs of channels pass by the tiles of a row; otherwise by those of an image."""
    return -(-size[-1] // tile.columns) >= MIN_TILES


def rows_apart(kernel: Sequence[int], weight_bytes: int, machine: Machine) -> list[bool]:
    """Return for all axes but the last whether rows are taken apart along it.

    No windows overlap along such an axis, and all weights stay in the cache. Every panel of weights
    passes by one such row after the other, so that the input comes from memory once, and windows
    along the other axes find it in the cache.
    """
    return [weight_bytes <= machine.l2_bytes // 2 and extent == 1 for extent in kernel[:-1]]


def _takes_images(
    size: Sequence[int], tile: RegisterTile, apart: Sequence[bool], panels: int, machine: Machine
) -> bool:
    """Whether runs pass by all tiles of an image: there are enough, and a task for every core.

    `panels` are those of all samples together; `apart` says along which axes rows are.
    """
    if not machine.lane_fma:
        return False
    *rows, columns = size
    if rows:
        rows[-1] //= tile.rows
    alone = prod(row for row, is_apart in zip(rows, apart, strict=True) if is_apart)
    tiles = prod(rows) // alone * -(-columns // tile.columns)
    return tiles >= MIN_TILES and panels * alone >= TASKS


@dataclass(frozen=True)
class Products:
    """The product of a panel of weights and inputs that were gathered into the second-level cache.

    Attributes:
        channels: input channels.
        taps: of which each multiplies all channels.
        in_block: channels of a block of the input.
        rows: outputs of a register tile.
        columns: input vectors of it.
        tiles: register tiles that meet the panel.
    """

    channels: int
    taps: int
    in_block: int
    rows: int
    columns: int
    tiles: int

    @property
    def step_bytes(self) -> int:
        """Bytes of input and weights that a register tile reads for a product."""
        return (self.columns + self.rows) * FLOAT_BYTES

    def run(self, machine: Machine) -> int:
        """Return how many channels all register tiles take at a time; 0 for all, with all taps.

        As many as leave their weights, and a register tile's inputs, in half of the first-level
        cache.
        """
        near = machine.l1_bytes // 2
        if not machine.waits_for_l2 or self.tiles == 1:
            return 0
        if self.channels * self.taps * self.step_bytes <= near:
            return 0
        runs = [n for n in divisors(self.channels) if n % self.in_block == 0]
        fitting = [n for n in runs if n >= MIN_RUN and n * self.step_bytes <= near]
        return max(fitting, default=0)

    def line_slots(self, machine: Machine) -> float:
        """Return the issue slots of a product that are lost to lines from the second-level cache.

        Runs load and store sums.
        """
        near = machine.l1_bytes // 2
        run = self.run(machine)
        stay = run or self.channels * self.taps * self.step_bytes <= near
        floats = self.columns + self.rows / (self.tiles if stay else 1)
        slots = 0.0
        if run:
            sums = self.rows * self.columns
            slots += 2 * LOAD_COST * sums / machine.lanes / run
            if self.tiles * sums * FLOAT_BYTES > near:
                floats += 2 * sums / run
        return slots + floats * FLOAT_BYTES * NEAR_LINE_COST / LINE_BYTES


def products_of(sch: s_tir.Schedule, block: object, columns: int, tiles: int) -> Products:
    """Return what a block over (taps, channel) multiplies, whose operands are (data, weight)."""
    axes = sch.get(block).iter_vars
    *taps, channels = (int(axis.dom.extent) for axis in axes if int(axis.iter_type) != 0)
    lanes = int(sch.get(block).reads[1].source.shape[-1])
    return Products(
        channels=channels,
        taps=prod(taps),
        in_block=in_block(sch, block),
        rows=tile_blocks(sch, block) * lanes,
        columns=columns,
        tiles=tiles,
    )


def product_tile(
    width: int,
    counts: Sequence[int],
    machine: Machine,
    *,
    channels: int,
    taps: int,
    block: int,
    in_block: int,
) -> RegisterTile:
    """Choose the register tile of `Products`, where lines of the second-level cache may count.

    Args:
        width: input vectors that meet a panel of weights.
        counts: numbers of channel blocks that a tile may have.
        machine: for which core.
        channels: input channels.
        taps: of which each multiplies all channels.
        block: channels of a block of the output.
        in_block: channels of a block of the input.
    """
    if not machine.waits_for_l2:
        depth = channels * taps
        return register_tile(width, counts, machine, block=block, in_block=in_block, depth=depth)

    def lines(columns: int, count: int) -> float:
        tiles = -(-width // columns)
        return Products(channels, taps, in_block, count * block, columns, tiles).line_slots(machine)

    few = [count for count in counts if count <= MAX_BLOCKS]
    return register_tile(width, few, machine, block=block, in_block=in_block, lines=lines)
