"""Bare weights: a state dict, whose network the user names with `--arch`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgeconv import zoo
from edgeconv.errors import ToolchainError, UnsupportedModelError
from edgeconv.frontend.inputs import Request
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.source import Source
from edgeconv.frontend.zoo_name import zoo_source

if TYPE_CHECKING:
    import torch

Weights = Mapping[str, "torch.Tensor"]

# What training programs put around the weights, and before their names.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "_orig_mod.")
# Counts batches in training; older files lack it.
_COUNTER = "num_batches_tracked"
_LISTED = 5


def weights_in(data: Any) -> dict[str, torch.Tensor] | None:
    """Return the weights by name without wrappers and prefixes; None if `data` is none."""
    import torch

    if not isinstance(data, Mapping) or "edgeconv" in data:
        return None
    for wrapper in _WRAPPERS:
        if isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
            break
    if not data or not all(isinstance(value, torch.Tensor) for value in data.values()):
        return None
    weights = {str(name): value for name, value in data.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def load(weights: Weights, file: ModelFile, request: Request) -> Source:
    """Load the weights into the zoo network that `request.arch` names.

    Raises:
        UnsupportedModelError: no network was named, or the weights do not fit it.
        UsageError: there is no such network, or a shape or example does not fit.
    """
    if request.arch is None:
        fitting = [arch for arch, module in _networks() if not mismatches(module, weights)]
        hint = f"--arch {fitting[0]}" if len(fitting) == 1 else "--arch NAME (`edgeconv models`)"
        fits = "; they fit one network of the zoo" if len(fitting) == 1 else ""
        raise UnsupportedModelError(
            f"{file.path}: holds weights only ({len(weights)} tensors), not the network they "
            f"belong to{fits}: give {hint}, or export the network to ONNX or with torch.export"
        )
    name, _, variant = request.arch.removeprefix("zoo:").partition("/")
    return fill(name, variant or "full", weights, file, request)


def fill(name: str, variant: str, weights: Weights, file: ModelFile, request: Request) -> Source:
    """Load weights into a zoo network; raises as `load` does."""
    module = zoo.load(name, variant)
    problems = mismatches(module, weights)
    if problems:
        raise UnsupportedModelError(
            f"{file.path}: its weights do not fit zoo:{name}/{variant}: {'; '.join(problems)}"
        )
    module.load_state_dict(dict(weights), strict=False)
    return zoo_source(name, variant, module, file.name, request)


def mismatches(module: torch.nn.Module, weights: Weights) -> list[str]:
    """Return what keeps the weights from fitting: missing, unexpected, mis-shaped entries."""
    own = module.state_dict()
    odd = [name for name in own if name in weights and not _fits_kind(weights[name], own[name])]
    groups = {
        "missing": [n for n in own if n not in weights and not n.endswith(_COUNTER)],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in weights and name not in odd and weights[name].shape != tensor.shape
        ],
        "of another kind": [f"{name} {_kind(weights[name])}" for name in odd],
    }
    return [f"{len(names)} {what}: {_listed(names)}" for what, names in groups.items() if names]


def _fits_kind(given: torch.Tensor, own: torch.Tensor) -> bool:
    """Tell whether converting the tensor to `own`'s dtype keeps its meaning."""
    plain = given.layout == own.layout and not (
        given.is_quantized or given.is_meta or given.is_nested
    )
    return plain and given.is_floating_point() == own.is_floating_point()


def _kind(tensor: torch.Tensor) -> str:
    form = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
    return f"{form} {tensor.dtype} on {tensor.device}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _networks() -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield every network of the zoo that can be built here, as `--arch` takes it."""
    for name, model in zoo.list_models().items():
        for variant in model.variants:
            try:
                yield f"{name}/{variant}", zoo.load(name, variant)
            except ToolchainError:
                continue
