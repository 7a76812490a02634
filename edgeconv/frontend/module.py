"""A `torch.nn.Module` given directly, through the Python API."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.errors import UsageError
from edgeconv.frontend import torchscript
from edgeconv.frontend.inputs import InputSpec, Request
from edgeconv.frontend.source import Source

if TYPE_CHECKING:
    import torch


def load(module: Any, request: Request) -> Source:
    """Wrap the module; its inputs are the parameters of `forward` that have no default.

    Raises:
        UsageError: it is no module, or its inputs' shapes cannot be told.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"a model is a path, a zoo name or a torch.nn.Module, not {type(module).__name__}"
        )
    scripted = isinstance(module, torch.jit.ScriptModule)
    kind = str(module.original_name) if scripted else type(module).__name__
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    return module_source(module, name, f"module {kind}", request)


def module_source(module: torch.nn.Module, name: str, origin: str, request: Request) -> Source:
    """Wrap a module, whose inputs are float32 where no examples say otherwise."""
    import torch

    float32 = np.dtype(np.float32)
    if isinstance(module, torch.jit.ScriptModule):
        names = torchscript.input_names(module, origin, request)
    else:
        names = _input_names(module, request)
    specs = [InputSpec(name, float32, None) for name in names]
    return Source(
        name=name,
        origin=origin,
        module=module,
        onnx=None,
        example_inputs=request.resolve(specs, origin),
    )


def _input_names(module: torch.nn.Module, request: Request) -> list[str]:
    """Return the names of the inputs by position, up to the first optional one not given."""
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            first = len(names)
            while request.gives(name := f"{parameter.name}_{len(names) - first}", len(names)):
                names.append(name)
            return names
        by_position = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        required = parameter.default is parameter.empty
        if not by_position or not (required or request.gives(parameter.name, len(names))):
            break
        names.append(parameter.name)
    return names
