"""Whether a direct convolution gains by leaving out taps that read nothing but padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import prod

from edgeconv.compiler.compute.skipping import Skip
from edgeconv.compiler.schedules.machine import Machine, RegisterTile, few_pixels, register_tile

# What is left of the time, at most: conditions and narrower tiles are not worth less.
WORTHWHILE = 0.9


def skipping_tile(
    skips: Sequence[Skip],
    counts: Iterable[int],
    machine: Machine,
    *,
    block: int,
    in_block: int,
    depth: int,
) -> RegisterTile | None:
    """Choose the tile of one row whose columns skip a tap together; None where that gains little.

    A row of outputs skips a tap, and a tile of its columns does. The schedule needs a loop over
    blocks of channels, around which the condition stands.

    Args:
        skips: the spatial axes; none where nothing is known of them.
        counts: numbers of channel blocks that a tile may have.
        machine: for which core.
        block: channels of a block of the output.
        in_block: channels of a block of the input.
        depth: products of an output, skipped ones included.

    Returns:
        The tile, whose cost is that of an average step, skipped ones included.
    """
    if not skips:
        return None
    *rows, columns = skips
    channels = depth // prod(skip.taps for skip in skips)
    if few_pixels([skip.outputs for skip in skips]) or not channels > in_block > 1:
        return None
    # Where inputs are broadcast one by one, a single block would need a load for every FMA.
    counts = [count for count in counts if count > 1 or machine.lane_fma] or [1]
    choose = partial(
        register_tile,
        columns.outputs,
        counts,
        machine,
        block=block,
        in_block=in_block,
        depth=depth,
    )
    whole, tile = choose(), choose(tiles=lambda run: replace(columns, run=run).runs)
    share = prod(skip.runs / skip.outputs for skip in rows)
    cost = tile.cost * share
    return replace(tile, cost=cost) if cost <= WORTHWHILE * whole.cost else None
