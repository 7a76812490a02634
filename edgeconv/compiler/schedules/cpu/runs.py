"""Runs of input channels, whose weights stay in the first-level cache while many tiles meet them.

Where the weights of a direct convolution's tile would not stay near from one tile to the next, a
row of tiles, or an image of few, takes a run of channels at a time. Its weights stand together in
memory: those of taps that are a power of two apart would displace each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from edgeconv.compiler.schedules.cpu.blocking import TASKS
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, RegisterTile

# Weights that come near for fewer tiles are not read often enough.
MIN_TILES = 4


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
