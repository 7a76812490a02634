"""`load_source` and the kinds of model file it knows, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeconv.errors import UsageError
from edgeconv.frontend import (
    checkpoint,
    exported_program,
    module,
    onnx_file,
    unsupported,
    zoo_name,
)
from edgeconv.frontend.inputs import Request
from edgeconv.frontend.modelfile import ModelFile, look_at
from edgeconv.frontend.source import Source

if TYPE_CHECKING:
    import torch


class Kind(Protocol):
    """A kind of model file; a module with these two functions is one."""

    def recognises(self, file: ModelFile) -> bool:
        """Tell whether the file is of this kind, from names and first bytes."""

    def load(self, file: ModelFile, request: Request) -> Source:
        """Load it; raises UnsupportedModelError or UsageError."""


KINDS: tuple[Kind, ...] = (onnx_file, exported_program, checkpoint)


def load_source(
    model: str | Path | torch.nn.Module,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    example_inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    seed: int = 0,
) -> Source:
    """Load a model: `zoo:NAME`, `zoo:NAME/VARIANT`, a model file, or a module.

    Args:
        model: what to load. Files are `.onnx`, `.pt2` and edgeconv checkpoints.
        input_shapes: shape by input name, where the model leaves it open.
        example_inputs: arrays or tensors by name or in order, instead of drawn ones. One array
            or tensor may stand alone.
        seed: of the drawn example inputs.

    Raises:
        UnsupportedModelError: the file cannot be loaded; the message says what it is and the
            way out.
        UsageError: there is no such zoo network, or a shape or example does not fit.
    """
    if example_inputs is not None and hasattr(example_inputs, "dtype"):
        example_inputs = (example_inputs,)
    request = Request(input_shapes or {}, example_inputs, seed)
    if not isinstance(model, str | Path):
        return module.load(model, request)
    if isinstance(model, str) and model.startswith(zoo_name.PREFIX):
        return zoo_name.load(model, request)
    if not str(model):
        raise UsageError("no model was given: give a model file or zoo:NAME")
    file = look_at(Path(model))
    for kind in KINDS:
        if kind.recognises(file):
            return kind.load(file, request)
    raise unsupported.explain(file)
