"""Files that are no model edgeconv can load: what they are, and the way out."""

from __future__ import annotations

from collections.abc import Callable

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.modelfile import ModelFile

_TO_ONNX = "export the network to ONNX or with torch.export, and give that file"


# Tried in order; the first test that holds names the file.
_KINDS: tuple[tuple[Callable[[ModelFile], bool], str], ...] = (
    (
        lambda file: "serialized_exported_program.json" in file.members,
        "a .pt2 of PyTorch 2.7 or older; load it there and save it with a newer PyTorch",
    ),
    (
        lambda file: any(name.startswith("data/aotinductor/") for name in file.members),
        "an AOTInductor package, compiled code without its graph; give the file that "
        "torch.export.save wrote",
    ),
    (
        lambda file: bool(file.members),
        f"a zip archive, but no model that edgeconv knows; {_TO_ONNX}",
    ),
    (lambda file: file.head[4:8] == b"TFL3", f"a TensorFlow Lite model; {_TO_ONNX}"),
    (
        lambda file: file.head.startswith(b"\x89HDF"),
        f"an HDF5 file, such as a Keras model; {_TO_ONNX}",
    ),
    (
        lambda file: file.head[8:9] == b"{",
        f"safetensors, weights without their network; {_TO_ONNX}",
    ),
)
_UNKNOWN = (
    "no model file that edgeconv knows (.onnx, .pt2, TorchScript, edgeconv checkpoint, weights "
    "with --arch); a graph in ONNX format must be named *.onnx"
)


def explain(file: ModelFile) -> UnsupportedModelError:
    """Return the error for a file that no kind recognises."""
    what = next((text for holds, text in _KINDS if holds(file)), _UNKNOWN)
    return UnsupportedModelError(f"{file.path}: {what}")
