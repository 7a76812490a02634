"""What the CPU schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tvm import s_tir, tirx

from edgeconv.compiler.compute.layout import flat_index

# Below this many innermost iterations a parallel launch costs more than it saves.
MIN_PARALLEL_WORK = 32768


def extent(sch: s_tir.Schedule, loop: object) -> int:
    """Return a loop's constant extent."""
    return int(sch.get(loop).extent)


def block_names(sch: s_tir.Schedule) -> list[str]:
    """Return the names of the function's blocks, in order."""
    root = sch.get_sblock("root")
    return [str(sch.get(block).name_hint) for block in sch.get_child_blocks(root)]


def is_reduction(sch: s_tir.Schedule, block: object) -> bool:
    """Whether a block has a reduction axis."""
    return any(axis.iter_type == tirx.IterVar.CommReduce for axis in sch.get(block).iter_vars)


def attach_epilogue(sch: s_tir.Schedule, anchor: str) -> object:
    """Keep the anchor's result local and inline every block after it into one; return that one.

    Where the anchor is itself the output, a copy from the local buffer takes its place.
    """
    names = block_names(sch)
    after = names[names.index(anchor) + 1 :]
    if not after:
        return sch.cache_write(sch.get_sblock(anchor), 0, "local")
    for name in after[:-1]:
        sch.compute_inline(sch.get_sblock(name))
    sch.set_scope(sch.get_sblock(anchor), 0, "local")
    return sch.get_sblock(after[-1])


def parallelise(sch: s_tir.Schedule, loops: Sequence[object], work: int) -> object:
    """Fuse `loops` and run them in parallel, unless `work` inner iterations are too few."""
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    if work >= MIN_PARALLEL_WORK and extent(sch, fused) > 1:
        sch.parallel(fused)
    return fused


def total_work(sch: s_tir.Schedule, block: object) -> int:
    """Return the number of innermost iterations of a block."""
    return prod(extent(sch, loop) for loop in sch.get_loops(block))


def vectorize_unroll(sch: s_tir.Schedule, loops: Sequence[object]) -> None:
    """Unroll `loops` and vectorise the last."""
    for loop in loops[:-1]:
        sch.unroll(loop)
    if extent(sch, loops[-1]) > 1:
        sch.vectorize(loops[-1])


def image_in_one_row(sch: s_tir.Schedule, image: object) -> None:
    """Let a block that writes (N, blocks, *spatial, lanes) run over all pixels in one loop."""
    size = [extent(sch, loop) for loop in sch.get_loops(image)[2:-1]]

    def row(batch: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> list[tirx.PrimExpr]:
        *axes, lane = rest
        return [batch, block, flat_index(axes, size), lane]

    sch.transform_block_layout(image, tirx.IndexMap.from_func(row, ndim=len(size) + 3))
