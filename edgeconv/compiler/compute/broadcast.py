"""Element-wise computation over operands that broadcast against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx


def aligned(index: Sequence[tirx.Var], shape: Sequence[int]) -> list[Any]:
    """Return the index into a tensor of `shape` whose axes of extent 1 are repeated."""
    last = index[len(index) - len(shape) :]
    return [0 if int(size) == 1 else i for i, size in zip(last, shape, strict=True)]


def broadcast(
    tensors: Sequence[te.Tensor], element: Callable[..., Any], shape: Sequence[int]
) -> te.Tensor:
    """Apply `element` to the values that stand at each position of `shape`."""

    def value(*index: tirx.Var) -> Any:
        return element(*(tensor(*aligned(index, tensor.shape)) for tensor in tensors))

    return te.compute(tuple(shape), value, name="elementwise")
