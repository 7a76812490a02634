"""Kernels whose loops are written by hand, as tensor expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import tirx as T


def loop_nest(
    name: str, tensors: Sequence[te.Tensor], shape: Sequence[int], build: Callable[..., Any]
) -> te.Tensor:
    """Return a tensor of `shape` that one loop nest writes.

    Args:
        name: of the tensor.
        tensors: what it reads, of the dtype of the result.
        shape: of the result.
        build: returns the statements, given the buffers of the tensors and of the result.
    """
    dtype = tensors[0].dtype
    # Without buffers of our own, te declares them with offsets, which bare pointers do not have.
    sources = [
        tirx.decl_buffer(tensor.shape, dtype, f"source{i}", layout=None)
        for i, tensor in enumerate(tensors)
    ]

    def statements(ins: Any, outs: Any) -> Any:
        return build(*(T.buffer_proxy(buffer) for buffer in [*ins, *outs]))

    return te.extern(
        [shape],
        list(tensors),
        statements,
        dtype=[dtype],
        in_buffers=sources,
        out_buffers=[tirx.decl_buffer(shape, dtype, "target", layout=None)],
        name=name,
    )
