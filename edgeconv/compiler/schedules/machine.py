"""What schedule rules need to know of a CPU, and the tile sizes that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

from edgeconv.target import Target

# Accumulators of one tile stand on the stack (in registers, once LLVM is done with them).
MAX_ACCUMULATOR_BYTES = 2048
FLOAT_BYTES = 4
# An FMA takes about four cycles on two pipes: fewer accumulators than this leave them idle.
FMA_LATENCY_SLOTS = 8
# Loads issue beside FMAs, and cost about half of one where they can overlap.
LOAD_COST = 0.5
# What the caches deliver in one issue slot.
L1_BYTES_PER_SLOT = 64
L2_BYTES_PER_SLOT = 16
# Of what weights take from there, large x86 cores hide half behind arithmetic.
HIDDEN_L2_FACTOR = 0.5
# What third-level caches deliver to one core, about.
L3_BYTES_PER_SLOT = 8
# Cores with a second-level cache of this size have a third one that is shared by many and far
# away; where it is near, asking for weights ahead costs a pointwise layer more than it saves.
LARGE_L2_BYTES = 1 << 20
# What memory delivers.
MEMORY_BYTES_PER_SLOT = 2.0
MAX_COLUMNS = 28
# What a narrower last tile costs the whole, with its own code.
RAGGED_COST = 1.05
FEW_PIXELS = 128
MIN_BLOCK = 4
# Issue slots of a kernel that is as quick alone as shared by two threads. On x86 that is twice as
# long: between cores, lines pass through a cache that is further away.
MIN_PARALLEL_SLOTS = 8192
MAX_TILE_BLOCKS = 8
# Of a band of rows in a block of channels. Cores fetch ahead beyond the ends of theirs, which takes
# lines from the core that is about to write them: bands of 6 KB took longer than whole blocks.
MIN_BAND_BYTES = 12 * 1024
# One of the two units that multiply vectors of so many floats also shuffles them.
AVX512_LANES = 16
# With fewer parts, whole ones would leave threads idle.
MIN_PARTS = 2
MIN_PARTS_SHARED_L2 = 8


@dataclass(frozen=True)
class Machine:
    """A core as the schedules see it.

    Attributes:
        lanes: fp32 values in a SIMD register.
        registers: SIMD registers.
        lane_fma: whether an FMA can take one lane of a register as its multiplier (ARM), so that
            inputs are loaded as vectors; otherwise they are broadcast from memory (x86).
        l1_bytes: first-level data cache.
        l2_bytes: second-level cache.
        l2_shared: whether the cores have it in common.
        l3_bytes: third-level cache of all cores; 0 where there is none.
        cores: such cores, which share a kernel's parts.
    """

    lanes: int
    registers: int
    lane_fma: bool
    l1_bytes: int
    l2_bytes: int
    l2_shared: bool = False
    l3_bytes: int = 0
    cores: int = 1

    @staticmethod
    def of(target: Target) -> Machine:
        """Return the model of `target`'s core."""
        return Machine(
            lanes=target.lanes,
            registers=target.cpu.vector_registers,
            lane_fma=not target.llvm.triple.startswith("x86"),
            l1_bytes=target.cpu.l1d_kib * 1024,
            l2_bytes=target.cpu.l2_kib * 1024,
            l2_shared=target.cpu.l2_shared,
            l3_bytes=target.cpu.l3_kib * 1024,
            cores=target.cpu.cores,
        )

    @property
    def is_aarch64(self) -> bool:
        """Whether this is a 64-bit ARM core; 32-bit ones have half the registers."""
        return self.lane_fma and self.registers == 32

    @property
    def min_parallel_macs(self) -> int:
        """Multiply-adds of a kernel that threads share; fewer are computed by one."""
        return MIN_PARALLEL_SLOTS * self.lanes * (1 if self.lane_fma else 2)

    @property
    def far_cores(self) -> bool:
        """Whether lines that another core has written cost more than weights that both read.

        Each core of these has a second-level cache of its own, as in the Raspberry Pi 5: but what
        lines cost there has not been measured.
        """
        return not self.lane_fma and not self.l2_shared and self.cores > 1

    @property
    def waits_for_l2(self) -> bool:
        """Whether lines on their way from the second-level cache take time from arithmetic.

        By the fits to published times (`benchmarks/arm/boards.py`): on the Raspberry Pi 4, whose
        cores share that cache, 15 cycles each, on the Raspberry Pi 5 none. Large x86 cores, too,
        fetch ahead and hide most of the way.
        """
        return self.lane_fma and self.l2_shared

    @property
    def shuffles_delay(self) -> bool:
        """Whether shuffles take turns with multiply-adds, as with AVX-512.

        With AVX2 they have a unit of their own: convolutions without most of them are no faster.
        """
        return not self.lane_fma and self.lanes == AVX512_LANES

    @property
    def far_l3(self) -> bool:
        """Whether weights that wait in the third-level cache are worth asking for ahead."""
        return not self.lane_fma and self.l2_bytes >= LARGE_L2_BYTES and self.l3_bytes > 0


def shares_parts(parts: int, machine: Machine) -> bool:
    """Whether threads take whole parts of a kernel, each with its data in second-level cache.

    Otherwise they work on every part together. Its data then moves between their caches, which
    costs more than shares that differ by a part, unless they have that cache in common.
    """
    return parts >= (MIN_PARTS_SHARED_L2 if machine.l2_shared else MIN_PARTS)


def core_bands(rows: int, block_bytes: int, machine: Machine) -> int:
    """Return into how many equal bands of rows to cut an image that cores share; 1 for none.

    Layers of which each core takes the same rows find nearly all that they read in its own cache.
    Where rows are few or short, cores take channels.

    Args:
        rows: of the image.
        block_bytes: of what is read, in one block of channels.
        machine: for which cores.
    """
    if not machine.far_cores:
        return 1
    return largest_divisor(rows, max(1, min(machine.cores, block_bytes // MIN_BAND_BYTES)))


class Lanes(Protocol):
    """What computes several values at once."""

    @property
    def lanes(self) -> int:
        """Return how many fp32 values."""
        ...


def channel_block(channels: int, machine: Lanes) -> int:
    """Return the channels per block of an NCHWc tensor, at least `MIN_BLOCK`.

    Of those that need the fewest blocks, and so registers, the narrowest.
    """
    block = machine.lanes
    while block > MIN_BLOCK and -(-channels // (block // 2)) == -(-channels // block):
        block //= 2
    return block


@dataclass(frozen=True)
class RegisterTile:
    """Output `columns` of `rows` by `blocks` channel blocks, held in accumulators.

    `cost` is in issue slots per reduction step and useful output block.
    """

    columns: int
    blocks: int
    cost: float
    rows: int = 1


def _fits(columns: int, vectors: int, machine: Machine) -> bool:
    accumulators = columns * vectors
    inputs = columns if machine.lane_fma else 1
    return accumulators + inputs + vectors + 1 <= machine.registers


def _cost(columns: int, vectors: int, in_block: int, machine: Machine, weight_load: float) -> float:
    """Issue slots of one reduction step, relative to the outputs that it feeds."""
    vectors_of_inputs = machine.is_aarch64 or (machine.lane_fma and in_block > 1)
    per_load = machine.lanes if vectors_of_inputs else 1
    loads = vectors * weight_load + columns / per_load * LOAD_COST
    return max(columns * vectors, FMA_LATENCY_SLOTS) + loads


def _weight_load(panel_bytes: int, tiles: float, machine: Machine) -> float:
    """Issue slots that a vector of weights takes to arrive for each of `tiles` that meet a panel.

    The first finds the panel in memory, where `tiles` is not 0, the others in a cache.
    """
    vector = machine.lanes * FLOAT_BYTES
    if panel_bytes <= machine.l1_bytes // 2:
        again = vector / L1_BYTES_PER_SLOT
    else:
        again = vector / L2_BYTES_PER_SLOT * (1 if machine.lane_fma else HIDDEN_L2_FACTOR)
    first = vector / MEMORY_BYTES_PER_SLOT / tiles if tiles else 0
    return first + max(LOAD_COST, again)


def register_tile(
    width: int,
    counts: Iterable[int],
    machine: Machine,
    *,
    block: int,
    in_block: int,
    depth: int = 0,
    height: int = 0,
    whole: bool = False,
    tiles: Callable[[int], float] | None = None,
    lines: Callable[[int, int], float] | None = None,
) -> RegisterTile:
    """Choose the tile for an output of `width` columns.

    The candidate with the fewest issue slots per useful output wins; columns beyond `width` count
    as waste.

    Args:
        width: columns of the output.
        counts: numbers of channel blocks that a tile may have.
        machine: for which core.
        block: channels of a block of the output.
        in_block: channels of a block of the input; single ones are loaded one by one.
        depth: steps of the reduction, whose weights every tile reads; 0 where they stay near.
        height: rows that meet the same weights, fresh from memory, of which a tile may take several
            whole ones; 0 where each row is by itself.
        whole: whether tiles may not reach beyond `width`.
        tiles: returns how many tiles of so many columns a reduction step has; all by default.
        lines: returns the issue slots that a reduction step of so many columns and blocks takes
            beside; none by default.
    """
    per_block = -(-block // machine.lanes)

    def cost(rows: int, columns: int, count: int) -> float:
        across = tiles(columns) if tiles else -(-width // columns)
        panel = depth * count * block * FLOAT_BYTES
        load = _weight_load(panel, across * height // rows, machine)
        step = _cost(rows * columns, count * per_block, in_block, machine, load)
        step += lines(columns, count) if lines else 0
        return across * step / (rows * width * count)

    candidates = (
        RegisterTile(columns, count, cost(rows, columns, count), rows)
        for count in counts
        for columns in range(1, min(width, MAX_COLUMNS) + 1)
        for rows in range(1, (MAX_COLUMNS // width if columns == width and height else 1) + 1)
        if height % rows == 0
        and rows * columns * count * block * FLOAT_BYTES <= MAX_ACCUMULATOR_BYTES
        and (_fits(rows * columns, count * per_block, machine) or rows * columns * count == 1)
        and not (whole and width % columns)
    )
    return min(
        candidates, key=lambda tile: (round(tile.cost, 9), tile.blocks, tile.columns, tile.rows)
    )


def plain_pixel_tile(outs: int, pixels: int, machine: Machine) -> RegisterTile:
    """Choose the `rows` of output channels by `columns`, vectors of pixels, of a plain image.

    The last tile of an image begins earlier where vectors do not divide it. `cost` is in issue
    slots per reduction step and vector of useful outputs.
    """

    def cost(rows: int, columns: int) -> float:
        steps = -(-pixels // (columns * machine.lanes))
        loads = (rows + columns) * LOAD_COST
        step = max(rows * columns, FMA_LATENCY_SLOTS) + loads
        return steps * step / (rows * pixels / machine.lanes)

    candidates = (
        RegisterTile(columns, 1, cost(rows, columns), rows)
        for rows in divisors(outs)
        for columns in range(1, max(1, pixels // machine.lanes) + 1)
        # Weights that meet a single vector are operands in memory, and take no register.
        if rows * columns + columns + (columns > 1) < machine.registers
        and rows * columns * machine.lanes * FLOAT_BYTES <= MAX_ACCUMULATOR_BYTES
    )
    return min(candidates, key=lambda tile: (round(tile.cost, 9), -tile.rows))


def few_pixels(size: Sequence[int]) -> bool:
    """Whether an image of that shape is so small that its layer waits for weights from memory."""
    return prod(size[-2:]) <= FEW_PIXELS


def image_tile(
    size: Sequence[int],
    counts: Iterable[int],
    machine: Machine,
    *,
    block: int,
    in_block: int,
    depth: int,
) -> RegisterTile:
    """Choose the tile for an output of spatial shape `size`; otherwise as `register_tile`."""
    few = few_pixels(size)
    return register_tile(
        size[-1],
        counts,
        machine,
        block=block,
        in_block=in_block,
        depth=depth if few else 0,
        height=prod(size[-2:-1]) if few else 0,
    )


def pixel_tile(
    pixels: int, counts: Sequence[int], machine: Machine, *, block: int, in_block: int
) -> RegisterTile:
    """Choose the tile for a row of all `pixels` of an image; otherwise as `register_tile`.

    Where FMAs take lanes, code is written for whole tiles only (`codegen/neon.py`). Elsewhere the
    last tile may be narrower, where that saves more than it costs.
    """
    choices = [True] if machine.lane_fma else [True, False]
    tiles = [
        register_tile(pixels, counts, machine, block=block, in_block=in_block, whole=whole)
        for whole in choices
    ]
    return min(tiles, key=lambda tile: tile.cost * (RAGGED_COST if pixels % tile.columns else 1))


def grouped_columns(width: int, taps: int, machine: Machine) -> int:
    """Return how many columns of one block to compute together, in groups narrower than a block.

    Registers also hold the weights of `taps` neighbouring taps, and as many shuffled inputs.
    """
    most = min(MAX_COLUMNS, max(machine.registers - 2 * taps - 1, FMA_LATENCY_SLOTS))
    return -(-width // -(-width // most))


def turning_columns(width: int, taps: int, machine: Machine) -> int:
    """Return how many columns of one block to compute together, whose sums turn in their groups.

    Registers also hold the weights of `taps` neighbouring taps, an input and the order of lanes.
    """
    most = min(MAX_COLUMNS, max(machine.registers - taps - 2, FMA_LATENCY_SLOTS))

    def cost(columns: int) -> float:
        loads = columns + 2 * taps - 1
        step = max(columns * taps, FMA_LATENCY_SLOTS) + loads * LOAD_COST
        return -(-width // columns) * step

    return min(range(1, min(width, most) + 1), key=lambda columns: (cost(columns), -columns))


def plain_tile(
    outs: int, height: int, vectors: int, machine: Machine, *, strided: bool
) -> tuple[int, int, int]:
    """Return the outputs of a group, rows, and vectors of columns to compute together.

    Args:
        outs: outputs of a group, which read the same inputs.
        height: rows of the image.
        vectors: vectors in a row.
        machine: for which core.
        strided: whether the columns that a vector reads are not neighbours: it is put together.
    """
    load = machine.lanes if strided else LOAD_COST

    def cost(tile: tuple[int, int, int]) -> float:
        count, rows, columns = tile
        loads = count * LOAD_COST + rows * columns * load
        return (max(prod(tile), FMA_LATENCY_SLOTS) + loads) / prod(tile)

    tiles = (
        (count, rows, columns)
        for count in divisors(outs)
        for rows in divisors(height)
        for columns in divisors(vectors)
        if count * rows * columns + rows * columns + 1 < machine.registers
    )
    return min(tiles, key=lambda tile: (round(cost(tile), 9), prod(tile)))


def divisors(value: int) -> list[int]:
    """Return what divides `value`, from 1 on."""
    return [divisor for divisor in range(1, value + 1) if value % divisor == 0]


def tile_counts(blocks: int, *, padded: bool = False) -> list[int]:
    """Return the numbers of blocks that a register tile can have, of `blocks` in a row.

    Where none but single ones divide many blocks, tiles may be `padded`: the last has one more.
    """
    counts = [count for count in range(1, MAX_TILE_BLOCKS + 1) if blocks % count == 0]
    if padded and counts == [1] and blocks > MAX_TILE_BLOCKS:
        return tile_counts(blocks + 1)
    return counts


def round_up(value: int, multiple: int) -> int:
    """Return `value` rounded up to a multiple."""
    return -(-value // multiple) * multiple


def largest_divisor(value: int, limit: int) -> int:
    """Return the largest divisor of `value` that is at most `limit`."""
    return next(d for d in range(min(value, limit), 0, -1) if value % d == 0)
