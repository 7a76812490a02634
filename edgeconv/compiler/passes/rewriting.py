"""Rebuilding a straight-line Relax function, binding by binding."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

Bindings = list[tuple[relax.Var, relax.Expr]]
CALL_TIR, RESHAPE = "relax.call_tir", "relax.reshape"


def bindings_of(function: relax.Function) -> Bindings:
    """Return (variable, value) of every binding, in order."""
    return [(b.var, b.value) for block in function.body.blocks for b in block.bindings]


def output_tuple(function: relax.Function) -> list[relax.Expr]:
    """Return the function's results."""
    bound = {var.name: value for var, value in bindings_of(function)}
    result = function.body.body
    while isinstance(result, relax.Var) and isinstance(
        bound.get(result.name), (relax.Tuple, relax.Var)
    ):
        result = bound[result.name]
    return list(result.fields) if isinstance(result, relax.Tuple) else [result]


def uses_of(function: relax.Function) -> Counter[str]:
    """Return how often each variable is read, by name; a result counts as a read."""
    uses: Counter[str] = Counter()
    for _, value in bindings_of(function):
        for argument in arguments_of(value):
            if isinstance(argument, relax.Var):
                uses[argument.name] += 1
    return uses


def readers_of(function: relax.Function) -> dict[str, list[str | None]]:
    """Return the variables that each variable is read for, by name; None for a result."""
    readers: dict[str, list[str | None]] = defaultdict(list)
    for var, value in bindings_of(function):
        if not isinstance(value, relax.Tuple):
            for argument in arguments_of(value):
                if isinstance(argument, relax.Var):
                    readers[argument.name].append(var.name)
    for result in output_tuple(function):
        if isinstance(result, relax.Var):
            readers[result.name].append(None)
    return readers


def arguments_of(value: relax.Expr) -> list[relax.Expr]:
    """Return the tensors that an expression reads, through tuples."""
    if isinstance(value, tvm.ir.Call):
        nested = [arguments_of(a) if isinstance(a, relax.Tuple) else [a] for a in value.args]
        return [argument for group in nested for argument in group]
    if isinstance(value, relax.Tuple):
        return [argument for field in value.fields for argument in arguments_of(field)]
    if isinstance(value, relax.TupleGetItem):
        return [value.tuple_value]
    return [value]


def constant_of(expression: relax.Expr) -> npt.NDArray[np.float32] | None:
    """Return a constant's array, or None."""
    return expression.value.numpy() if isinstance(expression, tvm.ir.expr.GenericConst) else None


def shape_of(expression: relax.Expr) -> tuple[int, ...]:
    """Return a tensor expression's static shape."""
    return tuple(int(size) for size in expression.ty.shape)


def op_name(value: relax.Expr) -> str:
    """Return the name of the called operator, "" for anything else."""
    if isinstance(value, tvm.ir.Call) and hasattr(value.op, "name"):
        return str(value.op.name)
    return ""


def substitute(value: relax.Expr, replace: Callable[[relax.Expr], relax.Expr]) -> relax.Expr:
    """Return `value` with every tensor that it reads replaced."""
    if isinstance(value, tvm.ir.Call):
        arguments = [
            substitute(a, replace) if isinstance(a, relax.Tuple) else replace(a) for a in value.args
        ]
        return tvm.ir.Call(value.op, arguments, value.attrs, value.ty_args)
    if isinstance(value, relax.Tuple):
        return relax.Tuple([substitute(field, replace) for field in value.fields])
    if isinstance(value, relax.TupleGetItem):
        return relax.TupleGetItem(replace(value.tuple_value), value.index)
    return replace(value)


def rebuild(
    module: tvm.IRModule, body: Callable[[relax.BlockBuilder], Sequence[relax.Expr]]
) -> tvm.IRModule:
    """Return `module` with a new "main" of the same parameters, whose results `body` emits."""
    main = module["main"]
    kept = {
        variable: function
        for variable, function in module.functions.items()
        if variable.name_hint != "main"
    }
    builder = relax.BlockBuilder(tvm.IRModule(kept))
    with builder.function("main", list(main.params)):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple(list(body(builder))))
        builder.emit_func_output(result)
    return builder.get()
