"""Loops over what is left of a partitioned loop: what follows from their running is known in them.

TVM cuts a loop where a condition in it ceases to hold for certain. Where the cut depends on an
outer loop, so does the extent of the rest, and conditions stay in there, to be tested in the
innermost loops, though they hold or fail whenever the rest runs at all.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.sym import Analyzer

from edgeconv.compiler.schedules.common import with_body

# Extents that follow from data are bounded by their type alone.
_MOST = 2**31 - 1


def decide_in_tails(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the flattened function with what is decided in such loops worked out."""
    analyzer = Analyzer()

    def bind(loop: Any) -> Any:
        if isinstance(loop.extent, tirx.IntImm):
            analyzer.bind(loop.loop_var, _range(loop, loop.extent))
        return loop

    def decide(loop: Any) -> Any:
        if isinstance(loop.extent, tirx.IntImm):
            return loop
        runs = analyzer.simplify(loop.extent > 0)
        most = max(1, analyzer.const_int_bound(loop.extent).max_value)
        if most <= _MOST:
            analyzer.bind(loop.loop_var, _range(loop, tirx.IntImm("int32", most)))
        with analyzer.constraint_scope(runs):
            body = tvm_ffi.structural_map(
                loop.body, [(tirx.Min, analyzer.simplify), (tirx.LT, analyzer.simplify)]
            )
        return with_body(loop, body)

    tvm_ffi.structural_map(function, [(tirx.For, bind)])
    return tvm_ffi.structural_map(function, [(tirx.For, decide)])


def _range(loop: Any, extent: Any) -> tvm.ir.Range:
    return tvm.ir.Range.from_min_extent(loop.min, extent)
