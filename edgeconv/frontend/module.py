"""A `torch.nn.Module` given directly, through the Python API."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np

from edgeconv.errors import UsageError
from edgeconv.frontend.inputs import InputSpec, Request
from edgeconv.frontend.source import Source


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


def _input_names(module: Any, request: Request) -> list[str]:
    """Return the names of forward's inputs; a starred parameter counts as the examples do."""
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            given = request.examples if request.examples is not None else request.shapes
            names += [f"{parameter.name}_{i}" for i in range(len(given) - len(names))]
        elif parameter.kind is not parameter.VAR_KEYWORD and (
            parameter.default is parameter.empty
            or parameter.name in request.shapes
            or (
                request.examples is not None
                and (
                    parameter.name in request.examples
                    if isinstance(request.examples, dict)
                    else len(names) < len(request.examples)
                )
            )
        ):
            names.append(parameter.name)
    return names
