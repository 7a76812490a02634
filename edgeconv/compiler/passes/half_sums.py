"""Marks the kernels whose products may be summed in half precision (`codegen/half_sums.py`)."""

from __future__ import annotations

from collections.abc import Set

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import CALL_TIR, bindings_of, op_name
from edgeconv.compiler.schedules.gpu.common import HALF_SUMS
from edgeconv.compiler.schedules.gpu.one_group import ONE_GROUP


def half_sums(graph: Graph, nodes: Set[str]) -> Graph:
    """Return the graph with the functions marked that compute one of the ONNX `nodes`.

    Small kernels that became one take no part: a launch is all that they cost.
    """
    module = graph.module.clone()
    for var, value in bindings_of(graph.main):
        if op_name(value) != CALL_TIR or nodes.isdisjoint(graph.layers.get(var.name, ())):
            continue
        callee = value.args[0]
        if ONE_GROUP not in (module[callee].attrs or {}):
            module.update_func(callee, module[callee].with_attr(HALF_SUMS, True))
    return graph.with_module(module)
