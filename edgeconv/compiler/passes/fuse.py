"""Fuses element-wise operators into the kernel that produces their input.

A chain starts at any kernel and goes on while its result is read by one kernel alone, element-wise
or broadcasting, with an output of the same shape, or by several such kernels that lead to one. A
chain that starts element-wise also takes in the element-wise kernels that it alone reads, so that a
whole expression is one kernel. The chain runs where its last kernel stood, when every other operand
exists.

An operand that only repeats elements (nearest upsampling) is never made: the chain reads what is
repeated. On GPUs no operand is made whose elements are those of another tensor in another order
(changes of layout, transpositions, slices): every kernel reads them where they are, and writes a
result of the network in its plain form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import tvm
from tvm import relax

from edgeconv.compiler.compute.normalise import STANDARDISED
from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.conv_window import with_convolutions
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    arguments_of,
    bindings_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.passes.views import as_view, with_plain_results, with_views
from edgeconv.compiler.schedules.gpu.machine import AnyMachine
from edgeconv.compiler.schedules.gpu.views import PLAIN, VIEW
from edgeconv.compiler.schedules.machine import Machine

# TVM's operator patterns: element-wise, broadcast.
FUSIBLE_PATTERNS = (0, 1)
# Kernels between a result and the one that all its readers lead to.
MAX_LINKS = 8
# How often an expression may read what its kernel begins with: every x * sigmoid(x) doubles that.
MAX_READS = 256


def fuse(graph: Graph, machine: AnyMachine | None = None) -> Graph:
    """Return the graph with chains merged into one TIR function each.

    On GPUs, kernels also take in the views that they read, and the plain form of a result; on CPUs,
    depthwise convolutions and pools the convolutions before them where that wins. Without a
    machine, chains are all that is merged.
    """
    groups = _chains(graph)
    calls = {var.name: (var, value) for var, value in bindings_of(graph.main)}
    kinds: dict[str, str] = {}
    taken_in: set[str] = set()
    if isinstance(machine, Machine):
        groups = with_convolutions(graph, groups, _uses(graph), machine)
    elif machine is not None:
        groups = with_plain_results(graph, groups)
        kinds = dict.fromkeys(groups.keys() & graph.views, PLAIN)
        groups, taken_in = with_views(graph, groups)
        kinds |= dict.fromkeys(taken_in, VIEW)
    member_of = {name: chain[-1] for chain in groups.values() for name in chain}
    layers, families, macs = dict(graph.layers), dict(graph.families), dict(graph.macs)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            if isinstance(expression, relax.Var):
                return new.get(expression.name, expression)
            return expression

        for var, value in bindings_of(graph.main):
            if isinstance(value, relax.Tuple) or var.name in taken_in:
                continue
            if member_of.get(var.name, var.name) != var.name:
                continue
            chain = groups.get(var.name)
            if chain is None:
                new[var.name] = builder.emit(substitute(value, current), var.name)
                continue
            links = [
                as_view(builder, graph.module, *calls[name], kinds[name])
                if name in kinds
                else calls[name]
                for name in chain
            ]
            function, arguments = composite(links)
            callee = builder.add_func(function, f"fused_{var.name}")
            call = tvm.ir.Call(callee, [current(argument) for argument in arguments])
            new[var.name] = builder.emit(call, var.name)
            layers[var.name] = tuple(
                dict.fromkeys(layer for name in chain for layer in graph.layers.get(name, ()))
            )
            moving = graph.repeats | taken_in
            first = next((name for name in chain if name not in moving), chain[0])
            families[var.name] = graph.families.get(first) or _family(calls[first][1])
            macs[var.name] = sum(graph.macs.get(name, 0) for name in chain)
        return [current(output) for output in output_tuple(graph.main)]

    module = relax.transform.FuseTIR()(rebuild(graph.module, body))
    return replace(graph, module=module, layers=layers, families=families, macs=macs)


def _family(call: tvm.ir.Call) -> str:
    """Return the family of a chain that begins with a call of a function of none."""
    normalises = str(call.args[0].name_hint).startswith(STANDARDISED)
    return STANDARDISED if normalises else "elementwise"


def _chains(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the chains of more than one kernel, by the name of the last binding."""
    bindings = bindings_of(graph.main)
    values = {var.name: (var, value) for var, value in bindings}
    uses = _uses(graph)
    following = _following(graph.module, bindings)
    taken: set[str] = set()
    chains: dict[str, tuple[str, ...]] = {}
    # Backwards, so that a sum joins the later of its producers and the earlier one's operands
    # are not kept alive for it.
    for var, value in reversed(bindings):
        if op_name(value) != CALL_TIR or var.name in taken | graph.repeats or _is_tuple(var):
            continue
        chain = [var.name]
        while (links := following.get(chain[-1])) and taken.isdisjoint(links):
            chain.extend(links)
        if len(chain) > 1 and not _extends_upward(var.name, value, values, following, taken):
            chains[chain[-1]] = tuple(chain)
            taken.update(chain)
    chains = _with_operand_kernels(graph.module, chains, values, uses, taken)
    return _with_repeats(graph, chains, values, uses)


def _with_repeats(
    graph: Graph,
    chains: dict[str, tuple[str, ...]],
    values: dict[str, tuple[relax.Var, relax.Expr]],
    uses: Mapping[str, int],
) -> dict[str, tuple[str, ...]]:
    """Let element-wise kernels, and repetitions, take in the repetitions that they alone read."""

    def repeated(name: str) -> Iterator[str]:
        """Yield what a kernel takes in, and the kernel."""
        value = values[name][1]
        takes = name in graph.repeats or _pattern(graph.module, value) in FUSIBLE_PATTERNS
        for operand in dict.fromkeys(getattr(o, "name", "") for o in arguments_of(value)):
            if takes and operand in graph.repeats and uses[operand] == 1:
                yield from repeated(operand)
        yield name

    inside = {name for chain in chains.values() for name in chain}
    alone = [
        name
        for name, (_, value) in values.items()
        if op_name(value) == CALL_TIR and name not in inside
    ]
    whole = {
        links[-1]: tuple(taken for link in links for taken in repeated(link))
        for links in (*chains.values(), *((name,) for name in alone))
    }
    taken_in = {name for links in whole.values() for name in links[:-1]}
    return {last: links for last, links in whole.items() if len(links) > 1 and last not in taken_in}


def _with_operand_kernels(
    module: tvm.IRModule,
    chains: dict[str, tuple[str, ...]],
    values: dict[str, tuple[relax.Var, relax.Expr]],
    uses: Mapping[str, int],
    taken: set[str],
) -> dict[str, tuple[str, ...]]:
    """Let chains that start element-wise take in the element-wise kernels that they alone read."""

    def elementwise(name: str) -> bool:
        return _pattern(module, values[name][1]) in FUSIBLE_PATTERNS

    # Kernels that stand alone, and chains, by their last kernel.
    free = {
        name: (name,)
        for name, (_, value) in values.items()
        if op_name(value) == CALL_TIR and name not in taken and elementwise(name)
    } | {last: links for last, links in chains.items() if elementwise(links[0])}

    def collect(links: tuple[str, ...], result: relax.Var) -> Iterator[str]:
        for name in links:
            for operand in arguments_of(values[name][1]):
                if not isinstance(operand, relax.Var) or uses[operand.name] != 1:
                    continue
                if operand.name in free and _joins(module, values[operand.name], result):
                    yield from collect(free.pop(operand.name), result)
            yield name

    whole = dict(chains)
    for last in chains:
        if last in free:
            whole[last] = tuple(collect(free.pop(last), values[last][0]))
            for name in whole[last][:-1]:
                whole.pop(name, None)
    return whole


def _following(
    module: tvm.IRModule, bindings: Sequence[tuple[relax.Var, relax.Expr]]
) -> dict[str, tuple[str, ...]]:
    """Return the kernels that can be computed in the loop that produces a variable, by its name.

    They are its only reader, or all its readers and those of their results up to the one kernel
    that they lead to, as in x * sigmoid(x).
    """
    readers: dict[str, list[str]] = {}
    for var, value in bindings:
        for name in _variables(value):
            readers.setdefault(name, []).append(var.name)
    values = {var.name: (var, value) for var, value in bindings}
    position = {var.name: index for index, (var, _) in enumerate(bindings)}

    def joined(produced: relax.Var) -> tuple[str, ...]:
        links: list[str] = []
        waiting = set(readers.get(produced.name, ()))
        while waiting and len(links) < MAX_LINKS:
            link = min(waiting, key=position.__getitem__)
            waiting.remove(link)
            if not _joins(module, values[link], produced):
                break
            links.append(link)
            if not waiting:
                return tuple(links)
            waiting.update(readers.get(link, ()))
        return ()

    following: dict[str, tuple[str, ...]] = {}
    reads: dict[str, int] = {}
    for var, _ in bindings:
        links = () if _is_tuple(var) else joined(var)
        counted = dict(reads)
        for link in links:
            counted[link] = sum(counted.get(name, 1) for name in _operands(values[link][1]))
        if links and counted[links[-1]] <= MAX_READS:
            following[var.name], reads = links, counted
        else:
            # Here a chain ends; what begins with this result reads it once.
            reads.pop(var.name, None)
    return following


def _extends_upward(
    name: str,
    value: tvm.ir.Call,
    values: dict[str, tuple[relax.Var, relax.Expr]],
    following: Mapping[str, tuple[str, ...]],
    taken: set[str],
) -> bool:
    """Whether an earlier kernel can start this chain, so that it must not start here."""
    return any(
        isinstance(operand, relax.Var)
        and name in following.get(operand.name, ())
        and operand.name not in taken
        and op_name(values[operand.name][1]) == CALL_TIR
        for operand in value.args[1].fields
        if getattr(operand, "name", "") in values
    )


def _uses(graph: Graph) -> Counter[str]:
    """Return how many kernels read a variable, however often each does."""
    return Counter(name for _, value in bindings_of(graph.main) for name in _variables(value))


def _variables(value: relax.Expr) -> set[str]:
    return set(_operands(value))


def _operands(value: relax.Expr) -> list[str]:
    return [argument.name for argument in arguments_of(value) if isinstance(argument, relax.Var)]


def _is_tuple(var: relax.Var) -> bool:
    return not isinstance(var.ty, relax.TensorType)


def _pattern(module: tvm.IRModule, call: tvm.ir.Call) -> int:
    return int(module[call.args[0]].attrs["op_pattern"])


def _joins(module: tvm.IRModule, reader: tuple[relax.Var, relax.Expr], produced: relax.Var) -> bool:
    """Whether `reader` can be computed in the loop that produces `produced`."""
    var, value = reader
    return (
        op_name(value) == CALL_TIR
        and not _is_tuple(var)
        and _pattern(module, value) in FUSIBLE_PATTERNS
        and shape_of(var) == shape_of(produced)
        and var.ty.dtype == produced.ty.dtype
    )


def composite(
    chain: list[tuple[relax.Var, tvm.ir.Call]],
) -> tuple[relax.Function, list[relax.Expr]]:
    """Return a primitive function that makes the chain's calls, and its arguments."""
    inside = {var.name for var, _ in chain}
    arguments: list[relax.Expr] = []
    for _, call in chain:
        for operand in call.args[1].fields:
            outside = not (isinstance(operand, relax.Var) and operand.name in inside)
            if outside and not any(operand.same_as(known) for known in arguments):
                arguments.append(operand)
    # The same names in every composite let equal kernels be recognised as equal.
    parameters = [relax.Var(f"p{i}", argument.ty) for i, argument in enumerate(arguments)]
    new: dict[str, relax.Expr] = {}

    def inner(expression: relax.Expr) -> relax.Expr:
        if isinstance(expression, relax.Var) and expression.name in new:
            return new[expression.name]
        return next(p for a, p in zip(arguments, parameters, strict=True) if a.same_as(expression))

    builder = relax.BlockBuilder()
    with builder.function("composite", parameters, attrs={"Primitive": True}):
        with builder.dataflow():
            for var, call in chain[:-1]:
                new[var.name] = builder.emit(_with_operands(call, inner))
            result = builder.emit_output(_with_operands(chain[-1][1], inner))
        builder.emit_func_output(result)
    return builder.get()["composite"], arguments


def _with_operands(
    call: tvm.ir.Call, replacement: Callable[[relax.Expr], relax.Expr]
) -> tvm.ir.Call:
    operands = relax.Tuple([replacement(operand) for operand in call.args[1].fields])
    return tvm.ir.Call(call.op, [call.args[0], operands], call.attrs, call.ty_args)
