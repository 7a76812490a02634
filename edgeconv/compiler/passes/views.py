"""Which kernels of a GPU read their operands, or write their result, in another order.

A view is a kernel that only moves elements: a change of layout, a transposition, a slice. It is not
made where every kernel that reads it, perhaps through reshapes, can find the elements itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, te, tirx

from edgeconv.compiler.compute.layout import reshaped
from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    RESHAPE,
    arguments_of,
    bindings_of,
    op_name,
    output_tuple,
    shape_of,
)

Chains = dict[str, tuple[str, ...]]


def with_views(graph: Graph, chains: Mapping[str, tuple[str, ...]]) -> tuple[Chains, set[str]]:
    """Return the chains with the views that they read, and those views, which no one else reads.

    Args:
        graph: before chains are merged.
        chains: kernels that become one, by the last.
    """
    reading = _Reading(graph, chains)
    taken_in = {name for name in reading.values if reading.is_taken_in(name)}
    whole = {}
    for last, links in reading.kernels.items():
        if last not in taken_in:
            taken = tuple(dict.fromkeys(n for link in links for n in reading.path(link, taken_in)))
            if len(taken) > 1:
                whole[last] = taken
    return whole, taken_in


def with_plain_results(graph: Graph, chains: Mapping[str, tuple[str, ...]]) -> Chains:
    """Return the chains whose kernels also write the plain form where it is a result."""
    reading = _Reading(graph, chains)
    whole = dict(reading.kernels)
    for output in [v.name for v in output_tuple(graph.main) if isinstance(v, relax.Var)]:
        if not reading.is_view(output) or not _is_plain_form(*reading.bindings[output]):
            continue
        (source,) = reading.operands(output)
        alone = reading.users[source] == {output} and reading.users[output] == {""}
        if alone and source in whole and reading.accepts(source):
            whole[output] = (*whole.pop(source), output)
    return {last: links for last, links in whole.items() if len(links) > 1}


class _Reading:
    """Who reads what."""

    def __init__(self, graph: Graph, chains: Mapping[str, tuple[str, ...]]) -> None:
        bindings = bindings_of(graph.main)
        self.graph = graph
        self.bindings = {var.name: (var, value) for var, value in bindings}
        self.values = {
            name: value
            for name, (_, value) in self.bindings.items()
            if not isinstance(value, relax.Tuple)
        }
        inside = {name for links in chains.values() for name in links}
        self.kernels = dict(chains) | {
            name: (name,)
            for name, value in self.values.items()
            if op_name(value) == CALL_TIR and name not in inside
        }
        self.last = {name: last for last, links in self.kernels.items() for name in links}
        self.users: dict[str, set[str]] = defaultdict(set)
        for name in self.values:
            for operand in self.operands(name):
                self.users[operand].add(self.last.get(name, name))
        for output in output_tuple(graph.main):
            self.users[getattr(output, "name", "")].add("")

    def operands(self, name: str) -> list[str]:
        """Return the variables that a binding reads, by name."""
        read = arguments_of(self.values[name])
        return [operand.name for operand in read if isinstance(operand, relax.Var)]

    def is_view(self, name: str) -> bool:
        """Whether a kernel that stands alone only moves elements of one tensor."""
        if name not in self.graph.views or self.kernels.get(name) != (name,):
            return False
        function = self.graph.module[self.values[name].args[0]]
        return len(self.operands(name)) == len(arguments_of(self.values[name])[1:]) == 1 and (
            self.accepts(name) and not isinstance(function.body.block.body, tirx.SeqStmt)
        )

    def accepts(self, last: str) -> bool:
        """Whether a kernel can read its operands through views."""
        special = (self.graph.joins, self.graph.paddings)
        return last in self.kernels and all(
            isinstance(self.bindings[name][0].ty, relax.TensorType)
            and not any(name in table for table in special)
            and self.graph.module[self.values[name].args[0]].body.block.name_hint == "root"
            for name in self.kernels[last]
        )

    def is_taken_in(self, name: str) -> bool:
        """Whether all readers take in a view, or a reshape of one."""
        if op_name(self.values[name]) == RESHAPE:
            (source,) = self.operands(name) or ("",)
            return source in self.values and self.is_taken_in(source)
        return self.is_view(name) and self._is_accepted(name)

    def _is_accepted(self, name: str) -> bool:
        return bool(self.users[name]) and all(
            self._is_accepted(user)
            if user in self.values and op_name(self.values[user]) == RESHAPE
            else self.accepts(user)
            for user in self.users[name]
        )

    def path(self, name: str, taken_in: set[str]) -> list[str]:
        """Return a kernel and the views before it, in order."""
        before = [n for o in self.operands(name) if o in taken_in for n in self.path(o, taken_in)]
        return [*before, name]


def _is_plain_form(var: relax.Var, value: tvm.ir.Call) -> bool:
    """Whether a kernel makes the plain form of a blocked tensor."""
    (source,) = value.args[1].fields
    return str(value.args[0].name_hint).startswith("unblock_channels") and (
        len(shape_of(source)) == len(shape_of(var)) + 1
    )


def as_view(
    builder: relax.BlockBuilder,
    module: tvm.IRModule,
    var: relax.Var,
    value: tvm.ir.Call,
    kind: str,
) -> tuple[relax.Var, tvm.ir.Call]:
    """Return the binding of a view, or of a reshape, as a call whose block is marked as `kind`."""
    if op_name(value) == CALL_TIR:
        function, operands = module[value.args[0]], list(value.args[1].fields)
    else:
        function, operands = reshape_function(value.args[0], var), [value.args[0]]

    def marked(block: Any) -> Any:
        if block.name_hint == "root":
            return block
        # Functions that differ in the names of their blocks only would be one to the builder.
        return s_tir.SBlock(
            block.iter_vars,
            block.reads,
            block.writes,
            block.name_hint,
            block.body,
            annotations={kind: True},
        )

    function = tvm_ffi.structural_map(function, (s_tir.SBlock, marked))
    callee = builder.add_func(function, "view")
    made = relax.TensorType(shape_of(var), str(var.ty.dtype))
    return var, relax.call_tir(callee, operands, made)


def reshape_function(data: relax.Expr, var: relax.Var) -> tirx.PrimFunc:
    """Return a function that gives `data` the shape of `var`; Relax counts in 64 bits."""
    source = te.placeholder(shape_of(data), str(data.ty.dtype), name="source")
    tensors = [source, reshaped(source, shape_of(var))]
    return te.create_prim_func(tensors, index_dtype_override="int64")
