"""Lets a depthwise convolution take in the pointwise one before it, whose result is large.

The result of the pointwise layer then stays in the second-level cache, a band of rows at a time,
and is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, sym, tirx

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import CALL_TIR, bindings_of, op_name, shape_of
from edgeconv.compiler.schedules.cpu.blocking import TASKS
from edgeconv.compiler.schedules.cpu.separable import POINTWISE, WINDOW, band_rows, row_tile
from edgeconv.compiler.schedules.cpu.window import MAX_UNROLLED_TAPS
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, pixel_tile

Chains = dict[str, tuple[str, ...]]
# What tiles that end with the rows may cost more than those over all pixels.
ROW_TILE_COST = 1.1
# Rows of the image that bands compute, over its own.
RECOMPUTED = 1.2


def with_depthwise(
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
        if graph.families.get(name) != "depthwise":
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
    if len(shape) != 5 or prod(shape) * FLOAT_BYTES <= machine.l2_bytes:
        return False
    if machine.lane_fma and not machine.is_aarch64:
        return False
    product, window = _block(graph, first, POINTWISE), _block(graph, second, WINDOW)
    if product is None or window is None:
        return False
    if prod(shape_of(second.args[1].fields[1])[1:-1]) > MAX_UNROLLED_TAPS:
        return False
    *_, height, width, lanes = shape
    data, weight = (shape_of(operand) for operand in first.args[1].fields[:2])
    blocks, in_block = weight[-2], data[-1]
    whole = pixel_tile(height * width, [blocks], machine, block=lanes, in_block=in_block)
    if machine.is_aarch64 and prod(shape[:2]) // blocks < TASKS:
        return False  # a task there takes all rows
    row = row_tile(width, blocks, machine, lanes=lanes, in_block=in_block)
    pad = _block(graph, second, "pad")
    return row.cost <= ROW_TILE_COST * whole.cost and _in_bands(window, pad, shape, blocks, machine)


def _in_bands(window: Any, pad: Any, image: Sequence[int], blocks: int, machine: Machine) -> bool:
    """Whether bands of rows need all of the image's columns, and few of its rows twice."""
    rows, columns = (_index(window, place.min) for place in window.reads[0].region[-3:-1])
    padding = _Index() if pad is None else _index(pad, pad.reads[0].region[-2].min)
    if rows is None or columns is None or padding is None:
        return False
    # Column 0 of the padded image is one before the image's own, as many as are padded.
    if padding.start + columns.start + columns.outputs + columns.taps < image[-2] - 1:
        return False
    height = int(window.writes[0].source.shape[-3])
    if rows.outputs > (rows.taps + 1) * (height - 1):
        return False  # there are rows between windows
    band = band_rows(height, image, blocks, machine)
    between = (height // band - 1) * rows.outputs // max(1, height - 1)
    computed = rows.outputs - between + height // band * (rows.taps + 1)
    return computed <= RECOMPUTED * (rows.outputs + rows.taps + 1)


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


def _block(graph: Graph, call: tvm.ir.Call, name: str) -> Any:
    """Return the block of that name of the function that is called; None where it has none."""
    found: list[Any] = []
    tvm_ffi.structural_walk(graph.module[call.args[0]].body, (s_tir.SBlock, found.append))
    return next((block for block in found if str(block.name_hint) == name), None)
