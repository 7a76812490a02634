"""Direct convolution on plain data, vectorised over output columns.

For groups that no channel block fits: the outputs of a group read the same few input channels, so
a register tile of several of them, by rows and vectors of columns, loads each input once.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import Machine, plain_tile

ANCHOR = "conv_plain"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv_plain` block (`compute.conv.conv_plain`)."""
    crop = sch.get_sblock("crop")
    rank, annotations = len(sch.get_loops(crop)) - 2, sch.get(crop).annotations
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    batch, out, *axes = sch.get_loops(conv)
    *rows, column = axes[:rank]
    reduction = axes[rank:]
    together, tall, vectors = plain_tile(
        int(annotations["outs"]),
        extent(sch, rows[-1]) if rows else 1,
        extent(sch, column) // machine.lanes,
        machine,
        strided=int(annotations["stride"]) > 1,
    )
    out, inner_outs = sch.split(out, [None, together])
    inner = [inner_outs]
    if rows:
        rows[-1], inner_rows = sch.split(rows[-1], [None, tall])
        inner.append(inner_rows)
    column, inner_columns, lane = sch.split(column, [None, vectors, machine.lanes])
    inner += [inner_columns, lane]
    tiles = [batch, out, *rows, column]
    sch.reorder(*tiles, *reduction, *inner)
    tile_loop = parallelise(sch, tiles, work, machine.min_parallel_macs)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, inner)
    init = sch.decompose_reduction(conv, reduction[0])
    vectorize_unroll(sch, sch.get_loops(init)[1:])
