"""Lays the network out in NCHWc blocks, and turns convolutions and pools into tensor expressions.

Convolutions produce blocked tensors, and whatever can follow in the same layout does; everything
else reads plain tensors. A tensor is converted once, when its other form is first needed.
Constant weights are packed here.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace

import tvm
from tvm import relax

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.conv_call import CONVOLUTIONS
from edgeconv.compiler.passes.elementwise import ELEMENTWISE
from edgeconv.compiler.passes.layout.attention import attention_or_matmul
from edgeconv.compiler.passes.layout.convolutions import (
    convolution,
    gpu_winograd,
    transposed_convolution,
)
from edgeconv.compiler.passes.layout.following import (
    broadcast,
    channel_slice,
    concat,
    elementwise,
    repeat,
    reshape,
)
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.layout.functions import function
from edgeconv.compiler.passes.layout.pooling import average_pooling, global_pooling, max_pooling
from edgeconv.compiler.passes.layout.softmax import softmax
from edgeconv.compiler.passes.rewriting import (
    bindings_of,
    constant_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.schedules.gpu.machine import AnyMachine, GpuMachine
from edgeconv.compiler.schedules.machine import FLOAT_BYTES
from edgeconv.traffic import TRAFFIC

# Emits one operator in its best layout; returns False where it is left to the plain layout.
Rule = Callable[[Forms, relax.Var, tvm.ir.Call], bool]

RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **{f"relax.nn.conv{rank}d_transpose": transposed_convolution for rank in (1, 2, 3)},
    **{f"relax.nn.max_pool{rank}d": max_pooling for rank in (1, 2, 3)},
    **{f"relax.nn.avg_pool{rank}d": average_pooling for rank in (1, 2, 3)},
    "relax.call_tir": function,
    "relax.mean": global_pooling,
    "relax.matmul": attention_or_matmul,
    "relax.nn.softmax": softmax,
    "relax.concat": concat,
    "relax.strided_slice": channel_slice,
    "relax.broadcast_to": broadcast,
    "relax.repeat": repeat,
    "relax.reshape": reshape,
    **dict.fromkeys(ELEMENTWISE, elementwise),
}


def blocked_layout(
    graph: Graph,
    machine: AnyMachine,
    stored_bytes: int = FLOAT_BYTES,
    in_half: Set[str] = frozenset(),
    *,
    winograd: bool = True,
    traffic: float = TRAFFIC,
) -> Graph:
    """Return the graph in blocked layouts.

    Args:
        graph: in the layout of the ONNX model.
        machine: for which core or GPU.
        stored_bytes: bytes of a float between kernels.
        in_half: ONNX nodes whose products may be summed in half precision.
        winograd: whether convolutions may take Winograd's algorithm.
        traffic: bytes that a GPU's kernels may move, as times of what convolutions have to.
    """
    values, layers = dict(graph.values), dict(graph.layers)
    macs, families = dict(graph.macs), dict(graph.families)
    tables = replace(
        graph,
        values=values,
        layers=layers,
        macs=macs,
        families=families,
        paddings={},
        views=set(),
        singles=set(),
        amplifications={},
    )

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        forms = Forms(builder, tables, machine, stored_bytes, in_half, winograd=winograd)
        for parameter in graph.main.params:
            forms.plain[parameter.name] = parameter
        if isinstance(machine, GpuMachine):
            forms.tiled = gpu_winograd.plans(forms, traffic)
        for var, value in bindings_of(graph.main):
            if not isinstance(value, relax.Tuple):
                _visit(forms, var, value)
        return [forms.as_plain(output) for output in output_tuple(graph.main)]

    module = relax.transform.DeadCodeElimination()(rebuild(graph.module, body))
    return replace(tables, module=module)


def _visit(forms: Forms, var: relax.Var, value: relax.Expr) -> None:
    if isinstance(value, relax.Var):
        forms.alias(var, value)
        return
    rule = RULES.get(op_name(value))
    if rule is not None:
        value = _with_variable(forms, var, value)
    if rule is None or not rule(forms, var, value):
        forms.emit(var, substitute(value, forms.as_plain))


def _with_variable(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> tvm.ir.Call:
    """Return a call whose first operand is a variable, as rules expect, if it is a constant."""
    first = call.args[0]
    if constant_of(first) is None or op_name(call) in ELEMENTWISE:
        return call
    bound = forms.builder.emit(relax.op.reshape(first, shape_of(first)), f"{var.name}_data")
    forms.plain[bound.name] = bound
    return tvm.ir.Call(call.op, [bound, *call.args[1:]], call.attrs, call.ty_args)
