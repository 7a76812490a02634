"""Attention of any rank, of which PyTorch's exporter translates that of four axes only."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

_AXES = 4


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    *flags: float,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Translate `torch.nn.functional.scaled_dot_product_attention`.

    Args:
        query: (..., L, E), an ONNX value, as are the other tensors.
        key: (..., S, E).
        value: (..., S, Ev).
        attn_mask: (..., L, S), what is added before softmax, or of Boolean values; or None.
        flags: the probability of dropout, 0 in evaluation mode, and whether a query meets those
            keys only that are not behind it.
        scale: factor of the products; None for 1 / sqrt(E).
        enable_gqa: whether fewer keys than queries may stand on the third axis from the end.

    Returns:
        (..., L, Ev). The axes in front of the last two broadcast, but of four axes.
    """
    from onnxscript import opset20 as op
    from onnxscript.function_libs.torch_lib.ops.nn import aten_scaled_dot_product_attention

    operands = (query, key, value)
    if enable_gqa or all(len(operand.shape) == _AXES for operand in operands):
        return aten_scaled_dot_product_attention(
            *operands, attn_mask, *flags, scale=scale, enable_gqa=enable_gqa
        )
    batch = np.broadcast_shapes(*(_sizes(operand)[:-2] for operand in operands))
    if attn_mask is not None and len(attn_mask.shape) > 2:
        attn_mask = _folded(attn_mask, batch)
    folded = (_folded(operand, batch) for operand in operands)
    result = aten_scaled_dot_product_attention(*folded, attn_mask, *flags, scale=scale)
    shape = [*batch, _sizes(query)[-2], _sizes(value)[-1]]
    return op.Reshape(result, _integers(shape))


def _folded(tensor: Any, batch: Sequence[int]) -> Any:
    """Return `tensor` with four axes: those before the last two broadcast, as the second one."""
    import onnx_ir as ir
    from onnxscript import opset20 as op

    matrix = _sizes(tensor)[-2:]
    shape = [1, prod(batch), *matrix]
    if _sizes(tensor)[:-2] != tuple(batch):
        tensor = op.Expand(tensor, _integers([*batch, *matrix]))
    folded = op.Reshape(tensor, _integers(shape))
    folded.shape, folded.dtype = ir.Shape(shape), tensor.dtype
    return folded


def _integers(values: Sequence[int]) -> Any:
    from onnxscript import opset20

    return opset20.Constant(value_ints=values)


def _sizes(tensor: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in tensor.shape)
