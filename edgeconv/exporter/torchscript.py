"""TorchScript to ONNX.

PyTorch's newer exporter takes no TorchScript, and converting it to an exported program first
fails on loops, dicts and default arguments; the older exporter takes it once it is traced.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx

from edgeconv.exporter.custom import registered_symbolics
from edgeconv.exporter.opset import OPSET

if TYPE_CHECKING:
    import torch

_SCOPE = "network"


def to_onnx(
    module: torch.jit.ScriptModule,
    inputs: tuple[torch.Tensor, ...],
    input_names: list[str],
    output_names: list[str],
) -> onnx.ModelProto:
    """Translate a module in evaluation mode; nodes are named after the module's layers.

    Raises what PyTorch raises: it cannot be traced, or an operator has no translation.
    """
    import torch

    # Tracing resolves the default arguments, and the wrapper dicts: the exporter takes neither.
    traced = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        _wrapped(module), inputs, strict=False, check_trace=False
    )
    buffer = io.BytesIO()
    with registered_symbolics(OPSET):
        torch.onnx.export(
            traced,
            inputs,
            buffer,  # type: ignore[arg-type]  # takes any file object
            dynamo=False,
            opset_version=OPSET,
            input_names=input_names,
            output_names=output_names,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    for node in model.graph.node:
        node.name = node.name.removeprefix(f"/{_SCOPE}").lstrip("/").replace("/", ".")
    return model


def _wrapped(module: torch.jit.ScriptModule) -> torch.nn.Module:
    import torch

    class Wrapped(torch.nn.Module):
        """Returns a tensor or a tuple of tensors."""

        def __init__(self) -> None:
            super().__init__()
            setattr(self, _SCOPE, module)

        def forward(self, *tensors: torch.Tensor) -> Any:
            result = getattr(self, _SCOPE)(*tensors)
            return tuple(result.values()) if isinstance(result, Mapping) else result

    # Not eval(): it would set modes of layers that have none.
    wrapped = Wrapped()
    wrapped.training = False
    return wrapped
