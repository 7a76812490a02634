"""A `torch.nn.Module` given directly, through the Python API."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.errors import UsageError
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
    kind = type(module).__name__
    origin = f"module {kind}"
    float32 = np.dtype(np.float32)
    specs = [InputSpec(name, float32, None) for name in _input_names(module, request)]
    return Source(
        name=re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower(),
        origin=origin,
        module=module,
        onnx=None,
        example_inputs=request.resolve(specs, origin),
    )


def _input_names(module: torch.nn.Module, request: Request) -> list[str]:
    """Return the names of the inputs by position, up to the first optional one not given."""
    given = request.shapes if request.examples is None else request.examples
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return names + [f"{parameter.name}_{i}" for i in range(len(given) - len(names))]
        by_position = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        required = parameter.default is parameter.empty
        is_given = (
            parameter.name in given if isinstance(given, Mapping) else len(names) < len(given)
        )
        if not by_position or not (required or is_given):
            break
        names.append(parameter.name)
    return names
