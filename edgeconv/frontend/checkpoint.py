"""edgeconv checkpoints: the weights of a zoo network, as `edgeconv.zoo.save_checkpoint` writes."""

from __future__ import annotations

import pickle
from typing import Any

from edgeconv import zoo
from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.inputs import Request
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.quiet import quiet
from edgeconv.frontend.source import Source
from edgeconv.frontend.zoo_name import zoo_source

_PICKLE = b"\x80"
_WAY_OUT = (
    "export the network with torch.export.save(torch.export.export(module, inputs), 'net.pt2') "
    "or torch.onnx.export, and give that file"
)


def recognises(file: ModelFile) -> bool:
    """Tell whether `torch.save` wrote the file, as a zip or in the format before it."""
    scripted = any(name.startswith("code/") for name in file.members)
    return ("data.pkl" in file.members and not scripted) or file.head.startswith(_PICKLE)


def load(file: ModelFile, request: Request) -> Source:
    """Load the weights, without running code from the file, into the zoo's network.

    Raises:
        UnsupportedModelError: the file holds something else, or weights that do not fit.
        UsageError: a shape or example does not fit.
    """
    data = _read(file)
    if not isinstance(data, dict) or "edgeconv" not in data:
        tensors = len(data) if isinstance(data, dict) else 0
        raise UnsupportedModelError(
            f"{file.path}: holds weights only ({type(data).__name__} of {tensors} entries), not "
            f"the network they belong to; {_WAY_OUT}"
        )
    if data["edgeconv"] != zoo.CHECKPOINT_VERSION:
        raise UnsupportedModelError(
            f"{file.path}: checkpoint version {data['edgeconv']}, this edgeconv reads version "
            f"{zoo.CHECKPOINT_VERSION}; save it again, or update edgeconv"
        )
    name, variant, weights = (data.get(key) for key in ("model", "variant", "state_dict"))
    if not (isinstance(name, str) and isinstance(variant, str) and isinstance(weights, dict)):
        raise UnsupportedModelError(
            f"{file.path}: a checkpoint without its model, variant or state_dict; save it again "
            "with edgeconv.zoo.save_checkpoint"
        )
    module = zoo.load(name, variant)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UnsupportedModelError(
            f"{file.path}: its weights do not fit zoo:{name}/{variant}: {error}"
        ) from error
    return zoo_source(name, variant, module, file.name, request)


def _read(file: ModelFile) -> Any:
    import torch

    try:
        with quiet():
            return torch.load(file.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsupportedModelError(
            f"{file.path}: a pickle of Python objects, such as a whole module; loading one runs "
            "code from the file, which edgeconv does not do. In the program that made it, "
            f"{_WAY_OUT}"
        ) from error
    except Exception as error:
        # Damaged files fail in as many ways as the unpickler has steps.
        raise UnsupportedModelError(
            f"{file.path}: looks like torch.save's, but cannot be read ({error}); copy it again"
        ) from error
