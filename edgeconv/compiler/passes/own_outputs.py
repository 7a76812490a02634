"""Gives every output memory of its own, which the caller's buffer can be."""

from __future__ import annotations

from tvm import relax

from edgeconv.compiler.compute.layout import copy
from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.legalize import ALIASING
from edgeconv.compiler.passes.rewriting import (
    bindings_of,
    constant_of,
    op_name,
    output_tuple,
    rebuild,
    substitute,
)


def own_outputs(graph: Graph) -> Graph:
    """Copy outputs that are an input, a constant or another output under another name."""
    bindings = [(v, value) for v, value in bindings_of(graph.main) if not _is_tuple(value)]
    owners: dict[str, str | None] = {
        parameter.name: parameter.name for parameter in graph.main.params
    }
    for var, value in bindings:
        source = value.args[0] if op_name(value) in ALIASING else value
        if isinstance(source, relax.Var):
            owners[var.name] = owners[source.name]
        else:
            owners[var.name] = None if constant_of(source) is not None else var.name
    taken = {parameter.name for parameter in graph.main.params}

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in bindings:
            new[var.name] = builder.emit(substitute(value, current), var.name)
        results: list[relax.Expr] = []
        for output in output_tuple(graph.main):
            owner = owners[output.name] if isinstance(output, relax.Var) else None
            result = current(output)
            if owner is None or owner in taken:
                call = builder.call_te(copy, result, primfunc_name_hint="copy")
                result = builder.emit(call, f"output_{len(results)}")
            else:
                taken.add(owner)
            results.append(result)
        return results

    return graph.with_module(rebuild(graph.module, body))


def _is_tuple(value: relax.Expr) -> bool:
    return isinstance(value, relax.Tuple)
