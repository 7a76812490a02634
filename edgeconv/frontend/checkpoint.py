"""edgeconv checkpoints: the weights of a zoo network, as `edgeconv.zoo.save_checkpoint` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeconv import zoo
from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend import state_dict
from edgeconv.frontend.inputs import Request
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.source import Source


def load(data: Mapping[str, Any], file: ModelFile, request: Request) -> Source:
    """Load a checkpoint's weights into the zoo's network that it names.

    Raises:
        UnsupportedModelError: it is of another version, incomplete, or its weights do not fit.
        UsageError: there is no such network, or a shape or example does not fit.
    """
    if data["edgeconv"] != zoo.CHECKPOINT_VERSION:
        raise UnsupportedModelError(
            f"{file.path}: checkpoint version {data['edgeconv']}, this edgeconv reads version "
            f"{zoo.CHECKPOINT_VERSION}; save it again, or update edgeconv"
        )
    name, variant = data.get("model"), data.get("variant")
    weights = state_dict.weights_in(data.get("state_dict"))
    if not (isinstance(name, str) and isinstance(variant, str) and weights is not None):
        raise UnsupportedModelError(
            f"{file.path}: a checkpoint without its model, variant or state_dict; save it again "
            "with edgeconv.zoo.save_checkpoint"
        )
    return state_dict.fill(name, variant, weights, file, request)
