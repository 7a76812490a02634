"""A network or layer, prepared for comparison: its folder, as every runtime's process reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
_FILE = "case.json"


@dataclass(frozen=True)
class Case:
    """What `benchmarks.prepare` wrote into a folder.

    The folder also holds `model.onnx` (standard operators only), `golden.npz` (inputs, and what
    PyTorch computes from them) and `model.edge`.

    Attributes:
        name: fit for a file name.
        source: "zoo:NAME/VARIANT" or "layer:NAME".
        family: of convolutions, or "network".
        macs: multiply-accumulates of one inference.
        inputs: names, in the order of `forward`'s parameters.
        outputs: names, in order.
        tolerances: by output, the largest permitted max |got - want| / max |want|.
        compile_s: seconds from the module to the artifact.
        compiled_cold: whether that was with an empty cache of kernels.
        key: changes with the compiler and the source.
        folder: where it is; not stored.
    """

    name: str
    source: str
    family: str
    macs: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tolerances: tuple[float, ...]
    compile_s: float
    compiled_cold: bool
    key: str
    folder: Path

    @property
    def onnx(self) -> Path:
        """The exported model."""
        return self.folder / "model.onnx"

    @property
    def artifact(self) -> Path:
        """The compiled model."""
        return self.folder / "model.edge"

    def golden(self) -> tuple[list[Array], list[Array]]:
        """Return inputs and the outputs that PyTorch computes from them, in order."""
        with np.load(self.folder / "golden.npz") as arrays:
            return (
                [arrays[f"input_{i}"] for i in range(len(self.inputs))],
                [arrays[f"output_{i}"] for i in range(len(self.outputs))],
            )

    def module(self) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        """Build the PyTorch module, in evaluation mode, and its golden inputs."""
        import torch

        return build(self.source), tuple(torch.from_numpy(array) for array in self.golden()[0])

    def save(self) -> None:
        """Write the description; its presence says that the folder is complete."""
        data = {key: value for key, value in asdict(self).items() if key != "folder"}
        (self.folder / _FILE).write_text(json.dumps(data, indent=1))

    @staticmethod
    def load(folder: Path) -> Case:
        """Return the case in a folder; raises OSError where there is none."""
        data = json.loads((folder / _FILE).read_text())
        lists = {name: tuple(data[name]) for name in ("inputs", "outputs", "tolerances")}
        return Case(**{**data, **lists}, folder=folder)


def build(source: str) -> torch.nn.Module:
    """Return the PyTorch module of a source, in evaluation mode, with its weights."""
    kind, name = source.split(":", 1)
    if kind == "zoo":
        from edgeconv import zoo

        network, _, variant = name.partition("/")
        return zoo.load(network, variant or "full")
    from benchmarks.layers import LAYERS

    return next(layer for layer in LAYERS if layer.name == name).build()
