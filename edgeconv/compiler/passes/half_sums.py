"""Marks the kernels whose products may be summed in half precision (`codegen/half_sums.py`)."""

from __future__ import annotations

from collections.abc import Set

from tvm import relax

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import CALL_TIR, arguments_of, bindings_of, op_name
from edgeconv.compiler.schedules.gpu.common import HALF_SUMS
from edgeconv.compiler.schedules.gpu.one_group import ONE_GROUP


def half_sums(graph: Graph, nodes: Set[str]) -> Graph:
    """Return the graph with the functions marked that compute one of the ONNX `nodes`.

    Small kernels that became one take no part, since a launch is all that they cost; nor does what
    reads or is a tensor that has to stay in single precision.
    """
    module = graph.module.clone()
    for var, value in bindings_of(graph.main):
        if op_name(value) != CALL_TIR or nodes.isdisjoint(graph.layers.get(var.name, ())):
            continue
        tensors = [var, *(a for a in arguments_of(value) if isinstance(a, relax.Var))]
        if not graph.singles.isdisjoint(tensor.name for tensor in tensors):
            continue
        callee = value.args[0]
        if ONE_GROUP not in (module[callee].attrs or {}):
            module.update_func(callee, module[callee].with_attr(HALF_SUMS, True))
    return graph.with_module(module)
