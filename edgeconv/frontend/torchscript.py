"""TorchScript archives: what `torch.jit.save` wrote of a scripted or traced module."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.inputs import InputSpec, Request
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.operators import load_operators
from edgeconv.frontend.quiet import quiet
from edgeconv.frontend.source import Source
from edgeconv.frontend.torchscript_check import checked_archive


def recognises(file: ModelFile) -> bool:
    """Tell by the code inside: no other archive of PyTorch has any."""
    return any(name.startswith("code/") for name in file.members)


def load(file: ModelFile, request: Request) -> Source:
    """Load the module after checking that its code only computes, or as it is with consent.

    The archive holds no shapes: `--input-shape` or examples give each input's, and inputs that
    are drawn are float32.

    Raises:
        UnsupportedModelError: the file is damaged, could do more than compute, or its forward
            needs something else than tensors.
        UsageError: an input's shape is not given, or a shape or example does not fit.
    """
    import torch

    data = file.path.read_bytes() if request.allow_pickle else checked_archive(file.path)
    load_operators(file)
    try:
        with quiet():
            module = torch.jit.load(  # type: ignore[no-untyped-call]  # torch leaves it untyped
                io.BytesIO(data), map_location="cpu"
            )
            names = input_names(module, str(file.path), request)
    except UnsupportedModelError:
        raise
    except Exception as error:
        # What the loader raises depends on what is wrong with the file.
        raise UnsupportedModelError(
            f"{file.path}: a TorchScript archive that cannot be read ({_first_line(error)}); save "
            "it again, or use torch.export.export on the module instead of torch.jit"
        ) from error
    specs = [InputSpec(name, np.dtype(np.float32), None) for name in names]
    return Source(
        name=file.path.stem,
        origin=file.name,
        module=module,
        onnx=None,
        example_inputs=request.resolve(specs, file.name),
    )


def input_names(module: Any, origin: str, request: Request) -> list[str]:
    """Return the tensors that a scripted module takes, up to the first optional one not given.

    Raises UnsupportedModelError where it takes something else.
    """
    names: list[str] = []
    for argument in module.forward.schema.arguments[1:]:
        if argument.has_default_value() and not request.gives(argument.name, len(names)):
            break
        if str(argument.type) not in {"Tensor", "Optional[Tensor]"}:
            raise UnsupportedModelError(
                f"{origin}: forward takes {argument.name}, a {argument.type}; edgeconv takes "
                "tensors by position: script a module whose forward takes tensors only"
            )
        # A traced module takes its names from inside the layers, where several can be the same.
        taken = argument.name in names
        names.append(f"{argument.name}_{len(names)}" if taken else argument.name)
    return names


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
