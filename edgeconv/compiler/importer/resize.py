"""Resize, by the ONNX specification: a table of positions and weights for each axis.

TVM's own converter is silently wrong for fractional scales and for antialiasing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from tvm import relax

from edgeconv.compiler.compute.resample import resample_axis, take_axis
from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node

# In float32, as ONNX Runtime computes them: rounding decides at which side of a tie one lands.
Floats = npt.NDArray[np.float32]
_COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"),
    *("align_corners", "asymmetric"),
)
_ROUNDING: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _text(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _axes(node: Node) -> list[int]:
    return [axis % node.rank() for axis in node.attributes.get("axes", range(node.rank()))]


def _refuse(node: Node) -> str | None:
    mode = _text(node, "mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        return f"mode {mode!r} is not supported"
    if _text(node, "coordinate_transformation_mode", "half_pixel") not in _COORDINATES:
        return "tf_crop_and_resize is not supported"
    if node.attributes.get("antialias", 0):
        return "antialias=1 is not supported"
    if _text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return "keep_aspect_ratio_policy is not supported"
    return None


def _scale(node: Node, axis: int) -> float:
    """Return the scale of an axis, which the given scales decide before the sizes."""
    scales = node.constant(2)
    if scales is not None and scales.size:
        return float(scales[_axes(node).index(axis)])
    return node.shapes[node.outputs[0]][axis] / node.shape(0)[axis]


def _source_positions(node: Node, axis: int) -> Floats:
    """Return where each output lies along the input's axis."""
    size, length = node.shape(0)[axis], node.shapes[node.outputs[0]][axis]
    scale, half = np.float32(_scale(node, axis)), np.float32(0.5)
    output = np.arange(length, dtype=np.float32)
    mode = _text(node, "coordinate_transformation_mode", "half_pixel")
    if mode == "align_corners":
        last = np.float32(max(length - 1, 1))
        return (output * np.float32(size - 1) / last).astype(np.float32)
    if mode == "asymmetric":
        return (output / scale).astype(np.float32)
    if mode == "pytorch_half_pixel" and length == 1:
        return np.zeros(1, np.float32)
    shift = np.float32(0)
    if mode == "half_pixel_symmetric":
        shift = np.float32(size / 2 * (1 - length / (scale * size)))
    return (shift + (output + half) / scale - half).astype(np.float32)


def _cubic_weights(fraction: Floats, a: float) -> Floats:
    """Return Keys' cubic convolution weights of the four neighbours (Keys, 1981)."""
    distance = np.abs(fraction[:, None] - np.array([-1.0, 0.0, 1.0, 2.0]))
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    weights: Floats = np.where(distance <= 1, near, far).astype(np.float32)
    return weights


def _taps(node: Node, axis: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Return source positions and weights, (outputs, taps), of a linear or cubic axis."""
    position = _source_positions(node, axis)
    size = node.shape(0)[axis]
    if _text(node, "mode", "nearest") == "linear":
        position = np.clip(position, 0, size - 1)
    base = np.floor(position)
    fraction = position - base
    if _text(node, "mode", "nearest") == "linear":
        weights, offsets = np.stack([1 - fraction, fraction], 1), np.arange(2)
    else:
        weights = _cubic_weights(fraction, node.attributes.get("cubic_coeff_a", -0.75))
        offsets = np.arange(-1, 3)
    taps = base[:, None].astype(np.int64) + offsets
    if node.attributes.get("exclude_outside", 0):
        weights = np.where((taps >= 0) & (taps < size), weights, 0)
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(taps, 0, size - 1).astype(np.int32), weights


def _convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    result = arguments[0]
    for axis in range(node.rank()):
        if node.shape(0)[axis] == node.shapes[node.outputs[0]][axis] and _scale(node, axis) == 1:
            continue
        if _text(node, "mode", "nearest") == "nearest":
            rounding = _ROUNDING[_text(node, "nearest_mode", "round_prefer_floor")]
            position = np.clip(rounding(_source_positions(node, axis)), 0, node.shape(0)[axis] - 1)
            table = relax.const(position.astype(np.int32), "int32")
            call = builder.call_te(take_axis, result, table, axis)
        else:
            positions, weights = _taps(node, axis)
            call = builder.call_te(
                resample_axis,
                result,
                relax.const(positions, "int32"),
                relax.const(weights.astype(np.float32), "float32"),
                axis,
            )
        result = builder.emit(call)
    return result


CONVERTERS = {"Resize": Converter(_convert, _refuse, constants=(1, 2, 3))}
