"""Maxima and minima of floating point numbers, in which NaN wins as in PyTorch and ONNX Runtime.

TVM's `Max` and `Min` become a comparison and a selection, which drop NaN in one operand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm_ffi
from tvm import tirx


def propagate_nan(function: tirx.PrimFunc, triple: str) -> tirx.PrimFunc:
    """Return the vectorised function with NaN-propagating maxima and minima for `triple`."""
    kinds = ((tirx.Max, "llvm.maximum"), (tirx.Min, "llvm.minimum"))
    return tvm_ffi.structural_map(
        function, [(node, _replacement(triple, name)) for node, name in kinds]
    )


def _replacement(triple: str, intrinsic: str) -> Callable[[Any], Any]:
    def replace(node: Any) -> Any:
        dtype = str(node.ty.dtype)
        if not dtype.startswith("float"):
            return node
        if _is_instruction(triple, dtype):
            return tirx.call_llvm_pure_intrin(dtype, intrinsic, node.a, node.b)
        return _by_selection(node)

    return replace


def _is_instruction(triple: str, dtype: str) -> bool:
    """Whether the processor has the intrinsic as one instruction (`fmax`, `vmax`)."""
    if triple.startswith("aarch64"):
        return True
    return triple.startswith("arm") and dtype.startswith("float32")


def _by_selection(node: Any) -> Any:
    """The comparison is false, and the second operand taken, where either is NaN."""
    kind = type(node)
    if _is_constant(node.b):
        return kind(node.b, node.a)
    if _is_constant(node.a):
        return node
    return tirx.Select(tirx.isnan(node.a), node.a, node)


def _is_constant(value: Any) -> bool:
    if isinstance(value, tirx.Broadcast):
        return _is_constant(value.value)
    return isinstance(value, tirx.FloatImm)
