"""Tiles that do not divide a row: the last begins earlier, and computes again what is behind it."""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import s_tir, tirx

from edgeconv.compiler.schedules.common import loop_bounds, uses


def overlap_last(sch: s_tir.Schedule, tile: Any, last: int) -> None:
    """Let no iteration of the loop `tile` begin after `last` on the axis that it splits.

    Nothing in there tests then whether the row goes on. The blocks in the loop must be its own, or
    write the same when they run again. Other primitives cannot follow.
    """
    loop, analyzer = sch.get(tile), loop_bounds(sch)
    inside: list[tirx.Var] = []
    tvm_ffi.structural_walk(loop.body, (tirx.For, lambda inner: inside.append(inner.loop_var)))

    def at_first(var: tirx.Var) -> Any:
        return tirx.IntImm("int32", 0) if any(var.same_as(other) for other in inside) else var

    def moved(value: Any) -> Any:
        if not uses(value, loop.loop_var):
            return value
        begin = tvm_ffi.structural_map(value, (tirx.Var, at_first))
        within = analyzer.simplify(value - begin)
        if isinstance(within, tirx.IntImm):
            # Of another axis, which is fused into the loop.
            return value
        return analyzer.simplify(tirx.min(begin, last)) + within

    def realized(realize: Any) -> Any:
        values = [moved(value) for value in realize.iter_values]
        triples = zip(realize.iter_values, values, realize.block.iter_vars, strict=True)
        exist = [old < axis.dom.extent for old, new, axis in triples if new.same_as(old)]
        return s_tir.SBlockRealize(values, analyzer.simplify(tirx.all(*exist)), realize.block)

    changed = tvm_ffi.structural_map(loop, (s_tir.SBlockRealize, realized))
    sch.state.replace(sch.get_sref(tile), changed)
