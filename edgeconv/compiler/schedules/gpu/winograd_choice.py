"""Whether Winograd convolution pays on a GPU: an analytic model of arithmetic and memory traffic.

Time is counted in multiply-accumulates that the GPU does in it at its peak. A kernel takes the
longer of what it computes and what it moves through memory, and a launch:

    time = max(slots, bytes * macs_per_byte) + launch

A direct convolution reads its input and weights, and writes its output. Winograd's three kernels
write and read the transformed tiles as well, which are (side / m)² times as large: 4 times for
tiles of 2x2 outputs, 2.25 times for 4x4. In return the products are 2.25 and 4 times fewer. So it
pays where there are many channels, all the more of them the faster a GPU computes for what its
memory delivers.

What a network moves through memory is bounded, though, and Winograd's tiles have a part of it:
those that gain most time for a byte come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeconv.compiler.compute.toom_cook import TAPS, tile_side
from edgeconv.compiler.compute.winograd import Tiling
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import (
    LOAD_COST,
    MAX_COLUMNS,
    Tile,
    block_counts,
    choose_tile,
    slots,
)
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, round_up
from edgeconv.compiler.schedules.winograd import Layer

# Multiply-accumulates for one result of the transform of one row or column of a tile.
TRANSFORM_SLOTS = 3
# So much faster it has to be: it takes more memory, and the model is no finer than that.
GAIN = 1.2
# A multiply-accumulate in half precision, with its part of an addition and a conversion for every
# 32 of them (`codegen/half_sums.py`).
HALF_MULTIPLY = 1 / 2 + 2 / 32
# Outputs of a tile along each axis whose transforms do not amplify the rounding to half too much.
TILES_IN_HALF = 2
# What memory delivers while a kernel is launched: some microseconds.
LAUNCH_BYTES = 1 << 17


@dataclass(frozen=True)
class WinogradPlan:
    """How to cut the image, and what a work-item computes of the products.

    Transformed tiles and weights are halves where `in_half`, else floats.
    """

    tiling: Tiling
    tile: Tile
    in_half: bool = False


@dataclass(frozen=True)
class Offer:
    """What a plan brings: the time that it gains, and the bytes that it adds."""

    plan: WinogradPlan
    gain: float
    added: float


def within(offers: Mapping[str, Offer], budget: float) -> dict[str, WinogradPlan]:
    """Return the plans that gain most for each byte, which together add no more than `budget`."""
    taken: dict[str, WinogradPlan] = {}
    for name, offer in sorted(offers.items(), key=lambda item: -item[1].gain / item[1].added):
        if offer.added <= budget:
            budget -= offer.added
            taken[name] = offer.plan
    return taken


def offer(
    layer: Layer,
    plan: WinogradPlan,
    machine: GpuMachine,
    stored_bytes: int,
    *,
    in_half: bool = False,
) -> Offer:
    """Return what a plan brings; the arguments are those of `choose`."""
    direct = direct_time(layer, machine, stored_bytes, in_half=in_half)
    gain = direct - time(layer, plan, machine, stored_bytes)
    added = sum(_moved(layer, plan, stored_bytes)) - _moved_directly(layer, stored_bytes)
    return Offer(plan, gain, added)


def choose(
    layer: Layer,
    sizes: Iterable[int],
    machine: GpuMachine,
    stored_bytes: int,
    *,
    in_half: bool = False,
) -> WinogradPlan | None:
    """Return the fastest plan; None where it is not `GAIN` times as fast as a direct convolution.

    Args:
        layer: a convolution of stride 1.
        sizes: the m that rounding permits.
        machine: for which GPU.
        stored_bytes: bytes of an element of activations and of weights of a direct convolution.
        in_half: whether products may be summed in half precision.
    """
    plans = [plan for m in sizes for plan in candidates(layer, m, machine, in_half=in_half)]
    times = [time(layer, plan, machine, stored_bytes) for plan in plans]
    best = min(range(len(plans)), key=times.__getitem__, default=None)
    direct = direct_time(layer, machine, stored_bytes, in_half=in_half)
    if best is None or GAIN * times[best] >= direct:
        return None
    return plans[best]


def direct_time(
    layer: Layer, machine: GpuMachine, stored_bytes: int, *, in_half: bool = False
) -> float:
    """Return the time of a direct convolution, whose taps along a row share what they load."""
    others = layer.planes * layer.out_blocks * layer.height
    counts = block_counts(layer.out_blocks // layer.groups)
    tile = choose_tile(layer.width, others, counts, machine, reach=(TAPS, layer.stride))
    row = ((tile.columns - 1) * layer.stride + TAPS) / TAPS
    multiply = HALF_MULTIPLY if in_half else 1.0
    each = slots(tile, layer.width, others, machine, inputs=row, multiply=multiply)
    pixels = layer.planes * layer.height * layer.width
    work = pixels * TAPS * TAPS * layer.depth * layer.out_blocks * each
    return _kernel(work, _moved_directly(layer, stored_bytes), machine)


def time(layer: Layer, plan: WinogradPlan, machine: GpuMachine, stored_bytes: int) -> float:
    """Return the time of the three kernels of Winograd convolution."""
    m, side, tiles = plan.tiling.m, plan.tiling.side, layer.planes * plan.tiling.tiles
    steps = layer.taps * layer.in_blocks
    there = 2 * side**2 * (TRANSFORM_SLOTS + LOAD_COST)
    back = (side + m) * m * TRANSFORM_SLOTS + (side**2 + m**2) * LOAD_COST
    each = slots(
        plan.tile,
        plan.tiling.tiles,
        layer.planes * side**2 * layer.out_blocks,
        machine,
        inputs=plan.tile.columns,
        multiply=HALF_MULTIPLY if plan.in_half else 1.0,
    )
    multiplied = tiles * side**2 * layer.depth * layer.out_blocks * each
    slots_of_kernels = tiles * steps * there, multiplied, tiles * layer.out_blocks * back
    moved = _moved(layer, plan, stored_bytes)
    return sum(_kernel(*kernel, machine) for kernel in zip(slots_of_kernels, moved, strict=True))


def candidates(
    layer: Layer, m: int, machine: GpuMachine, *, in_half: bool = False
) -> list[WinogradPlan]:
    """Return plans for tiles of m x m outputs, in halves if they may be.

    The tiles are cut into whole runs of columns: that is a matter of how many rows of them there
    are, the last of which may lie beyond the image.
    """
    height, width = -(-layer.height // m), -(-layer.width // m)
    others = layer.planes * tile_side(m, layer.stride) ** 2 * layer.out_blocks
    counts = block_counts(layer.out_blocks // layer.groups)
    plans = []
    for rows in sorted({round_up(height, count) for count in range(1, MAX_COLUMNS + 1)}):
        tile = choose_tile(rows * width, others, counts, machine, whole=True)
        tiling = Tiling(m, rows, width, tile.columns, layer.stride)
        plans.append(WinogradPlan(tiling, tile, in_half and m == TILES_IN_HALF))
    return plans


def _moved(layer: Layer, plan: WinogradPlan, stored_bytes: int) -> tuple[float, float, float]:
    """Return the bytes that each of Winograd's three kernels moves."""
    places = plan.tiling.side**2
    tiles, pixels = layer.planes * plan.tiling.tiles, layer.planes * layer.height * layer.width
    tile_bytes = FLOAT_BYTES // 2 if plan.in_half else FLOAT_BYTES
    inputs = layer.taps * pixels * _channels_in(layer) * stored_bytes
    panels = tiles * places * layer.taps * _channels_in(layer) * tile_bytes
    weights = places * layer.weights // FLOAT_BYTES * tile_bytes
    products = tiles * places * _channels_out(layer) * tile_bytes
    outputs = pixels * _channels_out(layer) * stored_bytes
    return inputs + panels, panels + weights + products, products + outputs


def _moved_directly(layer: Layer, stored_bytes: int) -> float:
    """Return the bytes that a direct convolution moves."""
    pixels = layer.planes * layer.height * layer.width
    weights = TAPS * TAPS * layer.weights // FLOAT_BYTES
    moved = pixels * (_channels_in(layer) * layer.stride**2 + _channels_out(layer)) + weights
    return moved * stored_bytes


def _kernel(work: float, moved: float, machine: GpuMachine) -> float:
    """Return the time of a kernel that takes so many slots of vectors and moves so many bytes."""
    launch = LAUNCH_BYTES * machine.macs_per_byte
    return max(work * machine.lanes, moved * machine.macs_per_byte) + launch


def _channels_in(layer: Layer) -> int:
    return layer.in_blocks * layer.in_block


def _channels_out(layer: Layer) -> int:
    return layer.out_blocks * layer.out_block
