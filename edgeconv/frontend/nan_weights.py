"""Refuses weights that are not a number: training diverged, and every output would be NaN.

Infinity is let through, since masks of attention are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.source import Source


def refuse_nan_weights(source: Source) -> None:
    """Raise UnsupportedModelError naming the first weights that hold NaN, or are damaged."""
    name = next(_tensors_with_nan(source), None)
    if name is not None:
        raise UnsupportedModelError(
            f"{source.origin}: the weights {name} hold NaN (not a number), so every output would; "
            "give weights from before the training diverged"
        )


def _tensors_with_nan(source: Source) -> Iterator[str]:
    if source.onnx is not None:
        from onnx import TensorProto, numpy_helper

        from edgeconv.frontend.onnx_check import messages

        for tensor in messages(source.onnx, TensorProto):
            try:
                array = numpy_helper.to_array(tensor)
            except (ValueError, KeyError, TypeError) as error:
                raise UnsupportedModelError(
                    f"{source.origin}: the weights {tensor.name} are damaged: {error}"
                ) from error
            if array.dtype.kind == "f" and np.isnan(array).any():
                yield tensor.name or "of a Constant node"
    elif source.module is not None:
        # A module's is a method, an exported program's a property.
        state = source.module.state_dict
        for name, weights in (state() if callable(state) else state).items():
            if weights.is_floating_point() and bool(weights.isnan().any()):
                yield name
