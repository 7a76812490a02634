"""`zoo:NAME` and `zoo:NAME/VARIANT`: networks that edgeconv builds itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeconv import zoo
from edgeconv.frontend.inputs import InputSpec, Request
from edgeconv.frontend.source import Source

if TYPE_CHECKING:
    import torch

PREFIX = "zoo:"


def load(model: str, request: Request) -> Source:
    """Build the network that `model` names.

    Raises:
        UsageError: there is no such network or variant, or a shape or example does not fit.
        ToolchainError: a package that holds the weights is missing.
    """
    name, _, variant = model.removeprefix(PREFIX).partition("/")
    variant = variant or "full"
    return zoo_source(name, variant, zoo.load(name, variant), model, request)


def zoo_source(
    name: str, variant: str, module: torch.nn.Module, origin: str, request: Request
) -> Source:
    """Put what the zoo knows about a network beside its module."""
    _, about = zoo.find(name, variant)
    specs = [
        InputSpec(input_name, np.dtype(np.float32), (None,) * len(shape), default=shape)
        for input_name, shape in about.inputs.items()
    ]
    return Source(
        name=name if variant == "full" else f"{name}_{variant}",
        origin=origin,
        module=module,
        onnx=None,
        example_inputs=request.resolve(specs, origin),
        preprocessing=about.preprocessing,
        labels=about.label_names(),
    )
