"""Relax operators to TIR functions; reshapes stay, since they move nothing."""

from __future__ import annotations

import tvm
from tvm import relax

from edgeconv.compiler.graph import Graph

# The plan makes these names for the same bytes.
ALIASING = ("relax.reshape",)


def legalize(graph: Graph) -> Graph:
    """Replace every operator but `ALIASING` by a call of a TIR function, and classify those."""
    passes = tvm.ir.transform.Sequential(
        [
            relax.transform.LegalizeOps(skip_ops=list(ALIASING)),
            relax.transform.AnnotateTIROpPattern(),
        ]
    )
    return graph.with_module(passes(graph.module))
