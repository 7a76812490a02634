"""Says when a network is too large for a target's memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from edgeconv.cli import console

if TYPE_CHECKING:
    from edgeconv.artifact import Artifact
    from edgeconv.inspection import Layer
    from edgeconv.target import Target

# The system and other programs want some of a board's memory too.
_SHARE = 0.75
_FLOAT_BYTES = 4


def artifact_shortage(artifact: Artifact) -> str | None:
    """Return the warning for an artifact whose target has too little memory; None if it fits."""
    import numpy as np

    manifest = artifact.manifest
    memory = manifest.memory
    tensors = (*manifest.inputs, *manifest.outputs)
    needs = {
        "weights": memory.weights_bytes,
        "arena": memory.arena_bytes,
        "scratch": memory.scratch_bytes * manifest.threads,
        "inputs and outputs": sum(math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in tensors),
    }
    return _shortage(manifest.model.name, needs, manifest.target)


def model_shortage(name: str, layers: Iterable[Layer], target: Target) -> str | None:
    """Return the warning for a model that no compilation can make fit; None if it may fit.

    The bound is the weights, and the largest layer's inputs and outputs.
    """
    needs = {"weights": 0, "largest layer": 0}
    for layer in layers:
        inputs = sum(_FLOAT_BYTES * math.prod(shape) for shape in layer.inputs)
        needs["weights"] += _FLOAT_BYTES * layer.parameters
        needs["largest layer"] = max(needs["largest layer"], inputs + layer.output_bytes)
    return _shortage(name, needs, target)


def _shortage(name: str, needs: Mapping[str, int], target: Target) -> str | None:
    total, memory = sum(needs.values()), target.cpu.memory_mib << 20
    if not memory or total <= _SHARE * memory:
        return None
    parts = ", ".join(f"{what} {console.bytes_text(size)}" for what, size in needs.items() if size)
    return (
        f"{name} needs {console.bytes_text(total)} to run ({parts}), and {target.name} has "
        f"{console.bytes_text(memory)} for everything: it may be killed there; take a smaller "
        "network or input, or a board with more memory"
    )
