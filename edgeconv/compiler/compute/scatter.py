"""Writing at computed places, as tensor expressions.

Two kernels: one finds the place of every update in the flat result, the other copies and writes,
update by update, in order. Indices wrap and are bounded as for `compute.indexing`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeconv.compiler.compute.indexing import valid_index

REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "min": tirx.min,
    "max": tirx.max,
}


def element_offsets(indices: te.Tensor, shape: list[int], axis: int) -> te.Tensor:
    """Flat places in a tensor of `shape` of elements whose position on `axis` is given."""
    strides = _strides(shape)

    def element(*i: tirx.Var) -> tirx.PrimExpr:
        at = [*i[:axis], valid_index(indices(*i), shape[axis]), *i[axis + 1 :]]
        return sum(p * s for p, s in zip(at, strides, strict=True))

    return te.compute(indices.shape, _int32(element), name="element_offsets")


def slice_offsets(indices: te.Tensor, shape: list[int]) -> te.Tensor:
    """Flat places in a tensor of `shape` of the slices at index tuples (*places, tuple)."""
    *places, length = (int(size) for size in indices.shape)
    strides = _strides(shape)

    def element(*i: tirx.Var) -> tirx.PrimExpr:
        at = [valid_index(indices(*i, k), shape[k]) for k in range(length)]
        return sum(p * s for p, s in zip(at, strides[:length], strict=True))

    return te.compute(places, _int32(element), name="slice_offsets")


def scatter(data: te.Tensor, offsets: te.Tensor, updates: te.Tensor, reduction: str) -> te.Tensor:
    """Copy `data` and merge `updates` into it, in order.

    Args:
        data: (elements,).
        offsets: int32 (updates,), where in `data` each update starts.
        updates: (updates, length).
        reduction: a key of `REDUCTIONS`: how an update meets what is there.
    """
    (elements,) = (int(size) for size in data.shape)
    count, length = (int(size) for size in updates.shape)
    merge = REDUCTIONS[reduction]

    def statements(ins: Any, outs: Any) -> Any:
        old, starts, new = (T.buffer_proxy(buffer) for buffer in ins)
        result = T.buffer_proxy(outs[0])
        with IRBuilder() as builder:
            with T.seq_scope():
                with T.serial(0, elements) as i:
                    result[i] = old[i]
                with T.serial(0, count) as update, T.serial(0, length) as i:
                    place = starts[update] + i
                    result[place] = merge(result[place], new[update * length + i])
            return builder.get()

    # Without buffers of our own, te declares them with offsets, which bare pointers do not have.
    inputs = [data, offsets, updates]
    buffers = [tirx.decl_buffer(t.shape, t.dtype, t.op.name, layout=None) for t in inputs]
    result = tirx.decl_buffer(data.shape, data.dtype, "result", layout=None)
    return te.extern(
        [data.shape],
        inputs,
        statements,
        dtype=[data.dtype],
        in_buffers=buffers,
        out_buffers=[result],
        name="scatter",
    )


def _strides(shape: list[int]) -> list[int]:
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _int32(element: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *index: tirx.const(0, "int32") + element(*index)
