"""`load_source` and the kinds of model file it knows, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeconv.errors import UsageError
from edgeconv.frontend import (
    exported_program,
    module,
    onnx_file,
    torch_save,
    torchscript,
    unsupported,
    zoo_name,
)
from edgeconv.frontend.inputs import Request
from edgeconv.frontend.modelfile import ModelFile, look_at
from edgeconv.frontend.nan_weights import refuse_nan_weights
from edgeconv.frontend.source import Source

if TYPE_CHECKING:
    import torch


class Kind(Protocol):
    """A kind of model file; a module with these two functions is one."""

    def recognises(self, file: ModelFile) -> bool:
        """Tell whether the file is of this kind, from names and first bytes."""

    def load(self, file: ModelFile, request: Request) -> Source:
        """Load it; raises UnsupportedModelError or UsageError."""


KINDS: tuple[Kind, ...] = (onnx_file, exported_program, torchscript, torch_save)


def load_source(
    model: str | Path | torch.nn.Module,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    example_inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    seed: int = 0,
    allow_pickle: bool = False,
    arch: str | None = None,
) -> Source:
    """Load a model: `zoo:NAME`, `zoo:NAME/VARIANT`, a model file, or a module.

    Args:
        model: what to load. Files are `.onnx`, `.pt2`, TorchScript archives, edgeconv
            checkpoints, and with the arguments below bare weights and pickled modules.
        input_shapes: shape by input name, where the model leaves it open.
        example_inputs: arrays or tensors by name or in order, instead of drawn ones. One array
            or tensor may stand alone.
        seed: of the drawn example inputs.
        allow_pickle: consent to run code that is stored in the file. Without it, a file whose
            loading could run code is refused.
        arch: zoo network, "NAME" or "NAME/VARIANT", that a file of bare weights belongs to.

    Raises:
        UnsupportedModelError: the file cannot be loaded, or its weights hold NaN; the message
            says what it is and the way out.
        UsageError: there is no such zoo network, or a shape or example does not fit, or
            `arch` was given for something that is no file of bare weights.
    """
    if example_inputs is not None and hasattr(example_inputs, "dtype"):
        example_inputs = (example_inputs,)
    source = _load(model, Request(input_shapes or {}, example_inputs, seed, allow_pickle, arch))
    refuse_nan_weights(source)
    return source


def _load(model: str | Path | torch.nn.Module, request: Request) -> Source:
    if not isinstance(model, str | Path):
        _refuse_arch(request, "a module")
        return module.load(model, request)
    if isinstance(model, str) and model.startswith(zoo_name.PREFIX):
        _refuse_arch(request, model)
        return zoo_name.load(model, request)
    if not str(model):
        raise UsageError("no model was given: give a model file or zoo:NAME")
    file = look_at(Path(model))
    for kind in KINDS:
        if kind.recognises(file):
            if kind is not torch_save:
                _refuse_arch(request, str(model))
            return kind.load(file, request)
    raise unsupported.explain(file)


def _refuse_arch(request: Request, what: str) -> None:
    if request.arch is not None:
        raise UsageError(
            f"--arch {request.arch}: {what} has its own network; --arch goes with a file of bare "
            "weights (a state dict)"
        )
