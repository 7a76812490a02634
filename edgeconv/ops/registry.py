"""The registry of operators: what the exporter translates beyond PyTorch's own table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.ops import deform_conv
from edgeconv.ops.op import Op

_OPS: dict[str, Op] = {op.name: op for op in (deform_conv.OP,)}


def register(op: Op) -> None:
    """Add an operator.

    Raises:
        UsageError: its name or its PyTorch overload is taken.
    """
    for other in _OPS.values():
        if op.name == other.name or op.torch_op == other.torch_op:
            raise UsageError(
                f"operator {op.name} ({op.torch_op}) is already registered as {other.name} "
                f"({other.torch_op}); give it a name and an overload of its own"
            )
    _OPS[op.name] = op


def registered() -> tuple[Op, ...]:
    """Return every operator, in the order of registration."""
    return tuple(_OPS.values())


def translation_table() -> dict[Any, Callable[..., Any]]:
    """Return what `torch.onnx.export` takes as `custom_translation_table`."""
    return {op.torch_op: op.to_onnx for op in _OPS.values()}
