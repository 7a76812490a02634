"""Stores tensors between kernels, and weights, in half precision.

Every kernel widens what it reads and rounds what it writes, so that all sums are still those of
single precision. Inputs and outputs of the network keep their types.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, te

from edgeconv.compiler.compute.convert import convert
from edgeconv.compiler.graph import Graph, constant
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    arguments_of,
    bindings_of,
    constant_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)

SINGLE, HALF = "float32", "float16"
# Smaller constants are tables of coordinates and statistics, whose digits cost nothing.
_SMALL = 256


def half_storage(graph: Graph, kept: Collection[str] = ()) -> Graph:
    """Return the fused graph with single-precision tensors stored as halves.

    `kept` are ONNX values that stay as they are, with the weights that they are made with, which
    may be as large, and those that they are multiplied by, which may be as small as they are large.
    So do the graph's `singles`.
    """
    halves = _halves(graph, kept)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        storage = _Storage(builder, graph, kept)
        for var, value in bindings_of(graph.main):
            if not isinstance(value, relax.Tuple):
                storage.visit(var, value, halves)
        return [storage.current(output) for output in output_tuple(graph.main)]

    return graph.with_module(relax.transform.FuseTIR()(rebuild(graph.module, body)))


def _halves(graph: Graph, kept: Collection[str]) -> frozenset[str]:
    """Return the variables that are stored as halves, by name."""
    bindings = bindings_of(graph.main)
    source = {var.name: var.name for var, _ in bindings}
    fixed = {output.name for output in output_tuple(graph.main)}
    for var, value in bindings:
        if _is_alias(value):
            # None where a constant is reshaped.
            for operand in (a for a in arguments_of(value) if isinstance(a, relax.Var)):
                source[var.name] = source.get(operand.name, operand.name)
        elif not isinstance(var.ty, relax.TensorType):
            # A kernel of several results stays as it is, with what it reads.
            fixed.update(a.name for a in arguments_of(value) if isinstance(a, relax.Var))
    fixed = {source.get(name, name) for name in fixed}
    return frozenset(
        var.name
        for var, value in bindings
        if op_name(value) == CALL_TIR
        and _is_single(var)
        and var.name not in fixed
        and not _is_kept(graph, var, kept)
    )


def _is_kept(graph: Graph, tensor: relax.Expr, kept: Collection[str]) -> bool:
    name = getattr(tensor, "name", "")
    value = graph.values.get(name)
    return name in graph.singles or (value is not None and value.name in kept)


def _is_alias(value: relax.Expr) -> bool:
    return isinstance(value, relax.Var) or op_name(value) == "relax.reshape"


def _is_single(tensor: relax.Expr) -> bool:
    return isinstance(tensor.ty, relax.TensorType) and str(tensor.ty.dtype) == SINGLE


class _Storage:
    """Emits the bindings anew."""

    def __init__(self, builder: relax.BlockBuilder, graph: Graph, kept: Collection[str]) -> None:
        self._builder, self._graph, self._kept = builder, graph, kept
        self._new: dict[str, relax.Expr] = {}

    def current(self, expression: relax.Expr) -> relax.Expr:
        """Return what stands for an old expression."""
        return self._new.get(getattr(expression, "name", ""), expression)

    def visit(self, var: relax.Var, value: relax.Expr, halves: Collection[str]) -> None:
        """Emit one binding."""
        if op_name(value) != CALL_TIR or not isinstance(var.ty, relax.TensorType):
            self._new[var.name] = self._builder.emit(substitute(value, self.current), var.name)
            return
        operands = self._stored(var, value.args[1].fields)
        narrow = var.name in halves
        if not narrow and all(
            str(new.ty.dtype) == str(old.ty.dtype)
            for new, old in zip(operands, value.args[1].fields, strict=True)
        ):
            self._new[var.name] = self._builder.emit(substitute(value, self.current), var.name)
            return
        function = self._composite(value, operands, narrow)
        callee = self._builder.add_func(function, f"fused_{var.name}")
        self._new[var.name] = self._builder.emit(tvm.ir.Call(callee, operands), var.name)

    def _stored(self, result: relax.Var, operands: Sequence[relax.Expr]) -> list[relax.Expr]:
        """Return a kernel's operands as they are stored."""
        if any(_is_kept(self._graph, tensor, self._kept) for tensor in (result, *operands)):
            return [self.current(operand) for operand in operands]
        return [self._narrowed(operand) for operand in operands]

    def _narrowed(self, operand: relax.Expr) -> relax.Expr:
        array = constant_of(operand)
        if array is None or array.dtype != np.float32 or array.size < _SMALL:
            return self.current(operand)
        return constant(array.astype(np.float16))

    def _composite(
        self, call: tvm.ir.Call, operands: list[relax.Expr], narrow: bool
    ) -> relax.Function:
        """Return a primitive function that widens operands, makes the call and rounds."""
        *reads, written = self._graph.module[call.args[0]].params
        parameters = [relax.Var(f"p{i}", operand.ty) for i, operand in enumerate(operands)]
        inner = relax.BlockBuilder()
        with inner.function("composite", parameters, attrs={"Primitive": True}):
            with inner.dataflow():
                wide = [
                    parameter
                    if str(parameter.ty.dtype) == str(buffer.dtype)
                    else inner.emit(self._cast(parameter, buffer, str(buffer.dtype)))
                    for parameter, buffer in zip(parameters, reads, strict=True)
                ]
                arguments = [call.args[0], relax.Tuple(wide)]
                result = tvm.ir.Call(call.op, arguments, call.attrs, call.ty_args)
                if narrow:
                    result = self._cast(inner.emit(result), written, HALF)
                output = inner.emit_output(result)
            inner.emit_func_output(output)
        return inner.get()["composite"]

    def _cast(self, tensor: relax.Expr, buffer: Any, dtype: str) -> tvm.ir.Call:
        """Return a call that converts a tensor, which a kernel knows as `buffer`, to `dtype`."""
        source = te.placeholder(buffer.shape, str(tensor.ty.dtype), name="source")
        function = te.create_prim_func([source, convert(source, dtype)])
        callee = self._builder.add_func(function, convert.__name__)
        return relax.call_tir(callee, [tensor], relax.TensorType(shape_of(tensor), dtype))
