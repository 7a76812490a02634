"""The registry of operators: edgeconv's own, one line each, and those added from outside."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgeconv.errors import UsageError
from edgeconv.ops.op import Op, op_name

if TYPE_CHECKING:
    import onnx

# The file of each operator. It defines OP, and imports torch, so it is read when it is needed.
_FILES = {
    "DeformConv": "edgeconv.ops.deform_conv",
    "edgeconv.SelectiveKernel": "edgeconv.ops.selective_kernel",
}
_ADDED: dict[str, Op] = {}


def register(op: Op) -> None:
    """Add an operator, for this process.

    Raises:
        UsageError: its name or one of its PyTorch operators is taken, its function is wrong, or
            an operator in a custom domain has a converter but no function, without which nothing
            can check it.
    """
    for other in registered():
        shared = sorted(op.translations.keys() & other.translations.keys())
        if op.name == other.name or shared:
            raise UsageError(
                f"operator {op.name} ({', '.join(op.translations)}) is already registered as "
                f"{other.name} ({', '.join(other.translations)}); give it a name and PyTorch "
                "operators of its own"
            )
    if "." in op.name and op.convert is not None and op.function is None:
        raise UsageError(
            f"operator {op.name} has no ONNX function: give it one, so that ONNX Runtime can run "
            "exported models and check what is compiled"
        )
    if isinstance(op.function, str):
        from onnx import NodeProto

        op.function_proto(NodeProto())
    _ADDED[op.name] = op


def registered() -> tuple[Op, ...]:
    """Return every operator: edgeconv's own, then those added, in order."""
    return (*map(_load, _FILES), *_ADDED.values())


def find(name: str) -> Op | None:
    """Return the operator of that ONNX name, or None."""
    return _load(name) if name in _FILES else _ADDED.get(name)


def op_of(node: onnx.NodeProto) -> Op | None:
    """Return the operator of an ONNX node, or None where it is not registered."""
    return find(op_name(node))


def translations() -> dict[str, Callable[..., Any]]:
    """Return every translation by PyTorch operator, "namespace::name"."""
    return {torch_op: to for op in registered() for torch_op, to in op.translations.items()}


def _load(name: str) -> Op:
    op: Op = import_module(_FILES[name]).OP
    return op
