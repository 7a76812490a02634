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
VIEWS = ("relax.permute_dims", "relax.strided_slice", "relax.broadcast_to")


def legalize(graph: Graph) -> Graph:
    """Replace every operator but `ALIASING` by a call of a TIR function, and classify those.

    The functions are anonymous; which of them joined, repeated or only moved elements is noted.
    """
    bindings = bindings_of(graph.main)
    repeats = frozenset(var.name for var, value in bindings if op_name(value) == "relax.repeat")
    views = {var.name for var, value in bindings if op_name(value) in VIEWS}
    joins = {
        var.name: int(value.attrs.axis) % len(shape_of(var))
        for var, value in bindings
        if op_name(value) == "relax.concat"
    }
    passes = tvm.ir.transform.Sequential(
        [
            relax.transform.LegalizeOps(skip_ops=list(ALIASING)),
            relax.transform.AnnotateTIROpPattern(),
        ]
    )
    module = passes(graph.module)
    return replace(graph, module=module, joins=joins, repeats=repeats, views=graph.views | views)
