"""The opset that models are compiled at, and bringing older ones to it."""

from __future__ import annotations

import onnx

from edgeconv.errors import UnsupportedModelError

OPSET = 20


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard's operators that a model uses."""
    return next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), OPSET)


def raised(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Return the model at `OPSET` at least, so that an operator has one meaning from here on.

    Raises:
        UnsupportedModelError: an operator cannot be converted.
    """
    version = opset_of(model)
    if version >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        # The converter raises its own and the C++ library's exceptions.
        raise UnsupportedModelError(
            f"{origin}: cannot be converted from opset {version} to {OPSET} ({error}); export the "
            f"network at opset {OPSET}"
        ) from error
