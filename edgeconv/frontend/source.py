"""`Source`: what every kind of model file becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgeconv.imaging import Preprocessing

if TYPE_CHECKING:
    import onnx
    import torch


@dataclass(frozen=True)
class Source:
    """A program with everything needed to run it once.

    Exactly one of `module` and `onnx` is set.

    Attributes:
        name: short, fit for a file name.
        origin: what the user gave, without folders: "zoo:resnet18", "net.onnx", "module Net".
        module: a module, in whatever mode it came, or an exported program.
        onnx: an ONNX graph with fixed input shapes.
        example_inputs: arrays by input name, in the order of the program's parameters.
        preprocessing: how photographs become the input; None where that is not known.
        labels: class names by class index; empty where there are none.
    """

    name: str
    origin: str
    module: torch.nn.Module | torch.export.ExportedProgram | None
    onnx: onnx.ModelProto | None
    example_inputs: dict[str, npt.NDArray[Any]]
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
