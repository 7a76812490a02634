"""Relax operators to TIR functions; reshapes stay, since they move nothing."""

from __future__ import annotations

from dataclasses import replace

import tvm
from tvm import relax

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import bindings_of, op_name, shape_of

# The plan makes these names for the same bytes.
ALIASING = ("relax.reshape",)
# Their results are elements of the operand, in another order, or some of them.
SLICE = "relax.strided_slice"
VIEWS = ("relax.permute_dims", SLICE, "relax.broadcast_to")


def legalize(graph: Graph) -> Graph:
    """Replace every operator but `ALIASING` by a call of a TIR function, and classify those.

    The functions are anonymous; which of them join, cut, repeat or only move elements is noted.
    """
    bindings = bindings_of(graph.main)
    repeats = frozenset(var.name for var, value in bindings if op_name(value) == "relax.repeat")
    views = {var.name for var, value in bindings if op_name(value) in VIEWS}
    joins = {
        var.name: int(value.attrs.axis) % len(shape_of(var))
        for var, value in bindings
        if op_name(value) == "relax.concat"
    }
    slices = {
        var.name: found
        for var, value in bindings
        if op_name(value) == SLICE and (found := _slice(value)) is not None
    }
    passes = tvm.ir.transform.Sequential(
        [
            relax.transform.LegalizeOps(skip_ops=list(ALIASING)),
            relax.transform.AnnotateTIROpPattern(),
        ]
    )
    module = passes(graph.module)
    views |= graph.views
    return replace(graph, module=module, joins=joins, slices=slices, repeats=repeats, views=views)


def _slice(call: tvm.ir.Call) -> tuple[str, int, int] | None:
    """Return the operand, the axis and the first index of a slice along one axis."""
    data, axes, begins, *_ = call.args
    if not isinstance(data, relax.Var) or len(axes) != 1:
        return None
    return data.name, int(axes[0].value), int(begins[0].value)
