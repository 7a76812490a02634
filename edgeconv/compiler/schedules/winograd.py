"""Whether Winograd convolution pays, and how to cut the image: an analytic model in issue slots.

An issue slot is the time of one SIMD multiply-accumulate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from math import prod

from edgeconv.compiler.compute.skipping import Skip
from edgeconv.compiler.compute.toom_cook import TAPS
from edgeconv.compiler.compute.winograd import Tiling
from edgeconv.compiler.schedules.cpu.blocking import LINE_BYTES, NEAR_LINE_COST
from edgeconv.compiler.schedules.cpu.runs import (
    MAX_BLOCKS,
    product_tile,
    stays_near,
    takes_rows,
)
from edgeconv.compiler.schedules.machine import (
    AVX512_LANES,
    FLOAT_BYTES,
    L2_BYTES_PER_SLOT,
    L3_BYTES_PER_SLOT,
    LOAD_COST,
    MEMORY_BYTES_PER_SLOT,
    Machine,
    RegisterTile,
    register_tile,
    round_up,
    shares_parts,
    tile_counts,
)
from edgeconv.compiler.schedules.skipping import skipping_tile

# Load, arithmetic and store of one vector in the transform of one row or column of a tile.
TRANSFORM_SLOTS = 6
# Into how many parts the rows of wide images are cut at most.
MAX_PARTS = 8
# What a thread keeps of a chunk, even where more would save weights ways from memory: programs of
# two threads then take about 5 MB beyond weights and tensors. Where weights wait in a third-level
# cache of many, more ways cost nothing (R3D, R2+1D, a U-Net).
MAX_CHUNK_BYTES = 2_400_000
MAX_CHUNK_BYTES_L3 = 1_300_000
# What is left of the time, at most, where a layer has no tiling that keeps to that.
WORTH_MORE_BYTES = 0.8
# What one core's cache delivers to another core of what was just written: a line in the 100 ns
# that it takes, some of them at a time.
EXCHANGED_BYTES_PER_SLOT = 1.0


@dataclass(frozen=True)
class Layer:
    """A 3x3 convolution, in channel blocks.

    Attributes:
        planes: images, and positions on axes before the last two.
        height: rows of the output.
        width: columns of the output.
        taps: taps on axes before the last two.
        groups: number of groups.
        channels: input channels of a group.
        in_blocks: blocks of all input channels.
        in_block: channels of one of them.
        out_blocks: blocks of all output channels.
        out_block: channels of one of them.
        stride: along the last two axes.
        skips: axes before the last two, where taps are left out; none where all are computed.
    """

    planes: int
    height: int
    width: int
    taps: int
    groups: int
    channels: int
    in_blocks: int
    in_block: int
    out_blocks: int
    out_block: int
    stride: int = 1
    skips: tuple[Skip, ...] = ()

    @property
    def counts(self) -> list[int]:
        """Numbers of blocks that a register tile can have."""
        return tile_counts(self.out_blocks // self.groups, padded=self.groups == 1)

    @property
    def padded_counts(self) -> list[int]:
        """The same with one block more, of which cores get as many each; none if they do anyway."""
        odd = self.groups == 1 < self.out_blocks and self.out_blocks % 2
        return tile_counts(self.out_blocks + 1) if odd else []

    @property
    def depth(self) -> int:
        """Products in a sum of the transform domain."""
        return self.taps * self.channels

    @property
    def kept_taps(self) -> int:
        """Taps of a chunk's transformed input."""
        return prod(skip.met for skip in self.skips) if self.skips else self.taps

    @property
    def mean_taps(self) -> float:
        """Taps that a plane computes, on average."""
        shares = (skip.runs / skip.outputs for skip in self.skips)
        return self.taps * prod(shares)

    @property
    def weights(self) -> int:
        """Bytes of the weights of one place in the kernel."""
        return self.depth * self.out_blocks * self.out_block * FLOAT_BYTES


def choose(
    layer: Layer, sizes: Iterable[int], machine: Machine, budget: float
) -> tuple[Tiling, RegisterTile] | None:
    """Return the fastest tiling with its register tile; None where none is faster than `budget`.

    Those that one core computes faster are compared by the mean of one core's time and all cores'.
    Tilings whose chunks keep to what a thread may keep come first, or else those with the smallest,
    if they save enough.

    Args:
        layer: the convolution.
        sizes: the m that rounding permits.
        machine: for which cores.
        budget: issue slots that another way takes on one core.
    """
    plans = []
    most = MAX_CHUNK_BYTES_L3 if machine.far_l3 else MAX_CHUNK_BYTES
    for tiling, tile in _candidates(layer, sizes, machine):
        chunk_bytes = max(sum(_chunk_bytes(layer, tiling, tile)), most)
        limit = budget if chunk_bytes == most else WORTH_MORE_BYTES * budget
        for parts in _channel_parts(layer, tiling, tile, machine):
            parted = replace(tiling, parts=parts)
            cost = _cost(layer, parted, tile, machine)
            if cost < limit:
                on_all = _cost_on_all(layer, parted, tile, machine, cost)
                plans.append((chunk_bytes, cost + on_all, astuple(parted), parted, tile))
    return min(plans, key=lambda plan: plan[:3])[3:] if plans else None


def _candidates(
    layer: Layer, sizes: Iterable[int], machine: Machine
) -> Iterator[tuple[Tiling, RegisterTile]]:
    for m in sizes:
        height, width = -(-layer.height // m), -(-layer.width // m)
        whole_rows = [(rows, width) for rows in _parts(height, height)]
        for rows, across in {*whole_rows, *((1, part) for part in _parts(width, MAX_PARTS))}:
            tiling = Tiling(m, rows, across, 1, layer.stride)
            few = not shares_parts(_chunks(layer, tiling), machine)
            for counts in _choices(layer, machine, few=few):
                tile = product_tile(
                    rows * across,
                    counts,
                    machine,
                    channels=layer.channels,
                    taps=layer.taps,
                    block=layer.out_block,
                    in_block=layer.in_block,
                )
                yield replace(tiling, columns=tile.columns), tile


def _choices(layer: Layer, machine: Machine, *, few: bool) -> list[list[int]]:
    """Return lists of blocks of a register tile, each of which to choose one from.

    Where cores share a cache, each is by itself: more panels leave more for cores to share.
    """
    choices = [layer.counts, layer.padded_counts if few else []]
    if machine.waits_for_l2:
        return [[count] for counts in choices for count in counts if count <= MAX_BLOCKS]
    return [counts for counts in choices if counts]


def _channel_parts(
    layer: Layer, tiling: Tiling, tile: RegisterTile, machine: Machine
) -> Iterator[int]:
    """Yield in how many parts to compute the output's channels."""
    yield 1
    panels = -(-layer.out_blocks // tile.blocks)
    few = not shares_parts(_chunks(layer, tiling), machine)
    if few and machine.far_cores and panels % machine.cores == 0:
        yield machine.cores


def _parts(extent: int, count: int) -> set[int]:
    """Return the lengths of up to `count` equal parts, the last of which may be shorter."""
    return {-(-extent // parts) for parts in range(1, min(extent, count) + 1)}


def _chunks(layer: Layer, tiling: Tiling) -> int:
    down = -(-layer.height // (tiling.m * tiling.rows))
    return layer.planes * down * -(-layer.width // (tiling.m * tiling.across))


def _cost_on_all(
    layer: Layer, tiling: Tiling, tile: RegisterTile, machine: Machine, cost: float
) -> float:
    """Return the issue slots of all cores together, waiting included, for what one does in `cost`.

    Cores share chunks, or of one chunk after the other its channels. Some wait where those do not
    divide; and of shared chunks, which each transforms a part of, they need each other's parts.
    """
    parts, exchanged = _chunks(layer, tiling) * tiling.parts, 0.0
    if not shares_parts(parts, machine):
        if not machine.l2_shared:
            data, _ = _chunk_bytes(layer, tiling, tile)
            exchanged = parts * data * (machine.cores - 1) / EXCHANGED_BYTES_PER_SLOT
        parts = -(-layer.out_blocks // tile.blocks)
    return cost * machine.cores * -(-parts // machine.cores) / parts + exchanged


def _cost(layer: Layer, tiling: Tiling, tile: RegisterTile, machine: Machine) -> float:
    m, side = tiling.m, tiling.side
    chunks, tiles = _chunks(layer, tiling), tiling.rows * tiling.across
    vectors = -(-layer.out_block // machine.lanes)
    blocks = tiling.parts * layer.mean_taps * layer.in_blocks + layer.out_blocks * vectors
    depth = layer.mean_taps * layer.channels
    products = side * side * depth * round_up(layer.out_blocks, tile.blocks) * tile.cost
    transforms = blocks * (m + side) * side * TRANSFORM_SLOTS
    weights = side * side * layer.weights
    again = (chunks - 1) * weights * layer.mean_taps / layer.taps
    streams = weights / MEMORY_BYTES_PER_SLOT + again / _rate(weights, machine)
    chunk_bytes = sum(_chunk_bytes(layer, tiling, tile))
    spilled = _spilled(layer, tiling, tile, machine) / _rate(chunk_bytes, machine)
    return chunks * (tiles * (products + transforms) + spilled) + streams


def _rate(size: int, machine: Machine) -> float:
    """Return the bytes that arrive in a slot of `size`, which was there before.

    They have half of a cache: what is used with them has the rest.
    """
    if size <= machine.l2_bytes // 2:
        return L2_BYTES_PER_SLOT
    return L3_BYTES_PER_SLOT if size <= machine.l3_bytes // 2 else MEMORY_BYTES_PER_SLOT


def _spilled(layer: Layer, tiling: Tiling, tile: RegisterTile, machine: Machine) -> float:
    """Return the bytes that a chunk moves beyond the second-level cache, half of which it has."""
    data, result = _chunk_bytes(layer, tiling, tile)
    beyond = max(0.0, 1 - machine.l2_bytes / 2 / (data + result))
    panels = -(-layer.out_blocks // tile.blocks)
    return beyond * (data * (1 + panels) + 2 * result * panels)


def _chunk_bytes(layer: Layer, tiling: Tiling, tile: RegisterTile) -> tuple[int, int]:
    """Return the bytes of a chunk's transformed input, and of one panel's products."""
    place = tiling.side**2 * tiling.rows * tiling.across * FLOAT_BYTES
    data = place * layer.kept_taps * layer.in_blocks * layer.in_block
    return data, place * tile.blocks * layer.out_block


def direct_cost(layer: Layer, machine: Machine, skips: Sequence[Skip] = ()) -> float:
    """Return the issue slots of a direct convolution, which may skip taps along axes `skips`."""
    steps = TAPS * TAPS * layer.depth
    loads = 0.0
    tile = skipping_tile(
        skips,
        layer.counts,
        machine,
        block=layer.out_block,
        in_block=layer.in_block,
        depth=steps,
    )
    if tile is None:
        tile = register_tile(
            layer.width,
            layer.counts,
            machine,
            block=layer.out_block,
            in_block=layer.in_block,
            depth=steps,
        )
        if layer.counts == [1] and layer.out_block == AVX512_LANES:
            # No second vector of outputs shares the inputs: multiply-adds take them from memory.
            computed = -(-layer.width // tile.columns) * tile.columns
            loads = computed / layer.width * LOAD_COST
    loads -= _direct_line_slots(layer, tile, machine)
    pixels = layer.planes * layer.height * layer.width
    stream = TAPS * TAPS * layer.weights / MEMORY_BYTES_PER_SLOT
    return pixels * steps * layer.out_blocks * (tile.cost - loads) + stream


def _direct_line_slots(layer: Layer, tile: RegisterTile, machine: Machine) -> float:
    """Return what a product and block of a direct convolution lose as `Products.line_slots` does.

    Windows of a tile share what they read of a row. What shares weights, `runs.channel_run` says.
    """
    if not machine.waits_for_l2:
        return 0.0
    rows, tiles = tile.blocks * layer.out_block, -(-layer.width // tile.columns)
    inputs = tile.columns * layer.stride / TAPS
    if stays_near(TAPS * TAPS * layer.depth * rows * FLOAT_BYTES, machine):
        weights = 0.0
    else:
        weights = rows / tiles / (1 if takes_rows((layer.width,), tile) else layer.height)
    lines = (inputs + weights) * FLOAT_BYTES / LINE_BYTES
    return lines * NEAR_LINE_COST / (tile.columns * tile.blocks)
