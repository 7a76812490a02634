"""`Op`: an operator that PyTorch and ONNX name differently, or that has to stay whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Op:
    """An operator's name in PyTorch, and its translation to ONNX.

    Attributes:
        name: short, unique in the registry.
        torch_op: the overload that stands in exported programs, such as
            `torch.ops.edgeconv.deform_conv2d.default`.
        to_onnx: takes the overload's arguments as ONNX values, emits ONNX nodes through
            `onnxscript`, and returns the result.
    """

    name: str
    torch_op: Any
    to_onnx: Callable[..., Any]
