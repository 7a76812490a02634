"""Lets a depthwise convolution or a pool take in the convolution before it, whose result is large.

The result of that then stays in the second-level cache, a band of rows at a time, and is never in
memory as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, sym, tirx

from edgeconv.compiler.compute.skipping import SKIPS
from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import CALL_TIR, bindings_of, op_name, shape_of
from edgeconv.compiler.schedules.cpu import pointwise
from edgeconv.compiler.schedules.cpu.blocking import TASKS
from edgeconv.compiler.schedules.cpu.conv_window import CONVOLUTIONS, WINDOW, band_rows, row_tile
from edgeconv.compiler.schedules.cpu.runs import stays_near
from edgeconv.compiler.schedules.cpu.window import MAX_UNROLLED_TAPS
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    Machine,
    core_bands,
    pixel_tile,
    register_tile,
)

Chains = dict[str, tuple[str, ...]]
FAMILIES = ("depthwise", "pool")
# What tiles that end with the rows may cost more than those over all pixels.
ROW_TILE_COST = 1.1
# Rows of the image that bands compute again, at most, as a part of its own.
RECOMPUTED = 0.2
# Issue slots that a vector takes to and from memory: steps that computing it again may take.
MEMORY_SLOTS = 16


def with_convolutions(
    graph: Graph, chains: Chains, uses: Mapping[str, int], machine: Machine
) -> Chains:
    """Return the chains of kernels, by their last, with such pairs joined.

    Args:
        graph: the graph.
        chains: kernels that are fused, in order; those that stand alone are not among them.
        uses: how many kernels read a variable.
        machine: for which core.
    """
    joined = dict(chains)
    starts = {links[0]: links for links in chains.values()}
    calls = {
        var.name: value for var, value in bindings_of(graph.main) if op_name(value) == CALL_TIR
    }
    for name, call in calls.items():
        if graph.families.get(name) not in FAMILIES:
            continue
        image = call.args[1].fields[0]
        if not isinstance(image, relax.Var) or uses[image.name] != 1:
            continue
        before = joined.get(image.name, (image.name,))
        if before[0] in calls and _wins(graph, calls[before[0]], image, call, machine):
            joined.pop(image.name, None)
            links = (*before, *starts.get(name, (name,)))
            joined[links[-1]] = links
    return joined


def _wins(
    graph: Graph, first: tvm.ir.Call, image: relax.Var, second: tvm.ir.Call, machine: Machine
) -> bool:
    """Whether two kernels are such a pair, and one pass over bands is worth while.

    On 32-bit ARM it is never: `benchmarks/arm`, which would tell, counts AArch64 alone.
    """
    shape = shape_of(image)
    if len(shape) != 5 or prod(shape) * FLOAT_BYTES <= _near_bytes(shape, machine):
        return False
    if machine.lane_fma and not machine.is_aarch64:
        return False
    conv, window = _convolution(graph, first), _block(graph, second, WINDOW)
    if conv is None or window is None or _steps(window) > MAX_UNROLLED_TAPS:
        return False
    data, weight = (shape_of(operand) for operand in first.args[1].fields[:2])
    blocks, in_block = weight[-2], data[-1]
    # A task there takes all rows.
    enough = not machine.is_aarch64 or shape[0] * -(-shape[1] // blocks) >= TASKS
    near = stays_near(_steps(conv) * blocks * shape[-1] * FLOAT_BYTES, machine)
    if not (enough and near and _rows_make_tiles(conv, shape, blocks, in_block, machine)):
        return False
    rows = _computed_rows(window, _block(graph, second, "pad"), shape, blocks, machine)
    return rows is not None and rows <= 1 + min(RECOMPUTED, MEMORY_SLOTS / _steps(conv))


def _near_bytes(image: Sequence[int], machine: Machine) -> int:
    """Return the size up to which an image is better written, and read by the next kernel.

    Where cores are far from each other, that depends on whether each then reads its own rows.
    """
    if not machine.far_cores:
        return machine.l2_bytes
    *_, rows, columns, lanes = image
    own = core_bands(rows, rows * columns * lanes * FLOAT_BYTES, machine) > 1
    return machine.l2_bytes // 2 if own else machine.l1_bytes


def _convolution(graph: Graph, call: tvm.ir.Call) -> Any:
    """Return the block of a convolution that can be computed in bands; None where it is not one."""
    crop = _block(graph, call, "crop")
    if crop is not None and SKIPS in crop.annotations:
        return None
    return _block(graph, call, *CONVOLUTIONS)


def _rows_make_tiles(
    conv: Any, image: Sequence[int], blocks: int, in_block: int, machine: Machine
) -> bool:
    """Whether tiles that end with the rows cost about as much as those of the convolution alone."""
    *_, height, width, lanes = image
    row = row_tile(width, blocks, machine, lanes=lanes, in_block=in_block)
    if conv.name_hint == pointwise.ANCHOR:
        alone = pixel_tile(height * width, [blocks], machine, block=lanes, in_block=in_block)
    else:
        alone = register_tile(width, [blocks], machine, block=lanes, in_block=in_block)
    return row.cost <= ROW_TILE_COST * alone.cost


def _computed_rows(
    window: Any, pad: Any, image: Sequence[int], blocks: int, machine: Machine
) -> float | None:
    """Return how many rows of the image all bands compute, as times of those that are read.

    None where they cannot: bands need all of the image's columns, and no rows between windows.
    """
    rows, columns = (_index(window, place.min) for place in window.reads[0].region[-3:-1])
    padding = _Index() if pad is None else _index(pad, pad.reads[0].region[-2].min)
    if rows is None or columns is None or padding is None:
        return None
    # Column 0 of the padded image is one before the image's own, as many as are padded.
    if padding.start + columns.start + columns.outputs + columns.taps < image[-2] - 1:
        return None
    height = int(window.writes[0].source.shape[-3])
    if rows.outputs > (rows.taps + 1) * (height - 1):
        return None
    band = band_rows(height, image, blocks, machine)
    between = (height // band - 1) * rows.outputs // max(1, height - 1)
    computed = rows.outputs - between + height // band * (rows.taps + 1)
    return computed / (rows.outputs + rows.taps + 1)


@dataclass(frozen=True)
class _Index:
    """A linear index: where a block's iterations begin, and how far outputs and taps move it."""

    start: int = 0
    outputs: int = 0
    taps: int = 0


def _index(block: Any, index: Any) -> _Index | None:
    """Return an index of a block's; None where it is not linear."""
    linear = sym.detect_linear_equation(index, [axis.var for axis in block.iter_vars])
    if not linear:
        return None
    *factors, start = (int(factor) for factor in linear)
    moves = {False: 0, True: 0}
    for factor, axis in zip(factors, block.iter_vars, strict=True):
        moves[axis.iter_type == tirx.IterVar.CommReduce] += factor * (int(axis.dom.extent) - 1)
    return _Index(start, moves[False], moves[True])


def _steps(block: Any) -> int:
    """Return how many values a block reduces to one."""
    reduced = (axis for axis in block.iter_vars if axis.iter_type == tirx.IterVar.CommReduce)
    return prod(int(axis.dom.extent) for axis in reduced)


def _block(graph: Graph, call: tvm.ir.Call, *names: str) -> Any:
    """Return the block of such a name of the function that is called; None where it has none."""
    found: list[Any] = []
    tvm_ffi.structural_walk(graph.module[call.args[0]].body, (s_tir.SBlock, found.append))
    return next((block for block in found if str(block.name_hint) in names), None)
