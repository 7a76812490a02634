"""Resize, by the ONNX specification: a table of positions and weights for each axis.

TVM's own converter is silently wrong for fractional scales and for antialiasing.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.resample import (
    RESAMPLED_AXIS,
    blank_outside,
    resample_axis,
    take_axis,
)
from edgeconv.compiler.importer.converter import Arguments, Converter, computed, dtype_of
from edgeconv.compiler.importer.node import Node
from edgeconv.compiler.importer.resize_tables import Resized, nearest, weighted

_COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"),
    *("align_corners", "asymmetric", "tf_crop_and_resize"),
)


def _text(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _axes(node: Node) -> list[int]:
    return [axis % node.rank() for axis in node.attributes.get("axes", range(node.rank()))]


def _given(node: Node, index: int) -> dict[int, float]:
    """Return scales or sizes by axis."""
    values = node.constant(index)
    if values is None or not values.size:
        return {}
    return dict(zip(_axes(node), values.tolist(), strict=True))


def _refuse(node: Node) -> str | None:
    mode = _text(node, "mode", "nearest")
    coordinates = _text(node, "coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear", "cubic"):
        return f"mode {mode!r} is not supported"
    if coordinates not in _COORDINATES:
        return f"coordinate_transformation_mode {coordinates!r} is not supported"
    if node.attributes.get("antialias", 0) and mode == "nearest":
        return "antialias=1 has no meaning for mode 'nearest'"
    if mode != "nearest" and not node.dtype().startswith("float"):
        return f"interpolation of {node.dtype()}: ONNX does not define how it rounds"
    if coordinates == "tf_crop_and_resize" and _given(node, 2):
        return "tf_crop_and_resize with scales, whose output size is not defined; give sizes"
    return None


def _scale(node: Node, axis: int) -> float:
    """Return the scale of an axis, which the given scales decide before the sizes."""
    scales, sizes = _given(node, 2), _given(node, 3)
    if scales:
        return scales.get(axis, 1.0)
    policy = _text(node, "keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return node.shapes[node.outputs[0]][axis] / node.shape(0)[axis]
    if axis not in sizes:
        return 1.0
    ratios = [size / node.shape(0)[other] for other, size in sizes.items()]
    return min(ratios) if policy == "not_larger" else max(ratios)


def _region(node: Node, axis: int) -> tuple[float, float]:
    """Return which part of an axis tf_crop_and_resize takes."""
    region, axes = node.constant(1), _axes(node)
    if region is None or not region.size or axis not in axes:
        return 0.0, 1.0
    place = axes.index(axis)
    return float(region[place]), float(region[len(axes) + place])


def _resized(node: Node, axis: int) -> Resized:
    return Resized(
        size=node.shape(0)[axis],
        length=node.shapes[node.outputs[0]][axis],
        scale=_scale(node, axis),
        coordinates=_text(node, "coordinate_transformation_mode", "half_pixel"),
        region=_region(node, axis),
    )


def _convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    result = arguments[0]
    outside = {}
    # The last axis first, while rows are few: along the others, whole rows are combined.
    for axis in reversed(range(node.rank())):
        resized = _resized(node, axis)
        if resized.is_identity:
            continue
        result = builder.emit(_resample(builder, node, resized, result, axis))
        beyond = resized.outside()
        if beyond.any():
            outside[axis] = relax.const(beyond)
    if not outside:
        return result
    value = node.attributes.get("extrapolation_value", 0.0)
    axes = list(outside)
    return computed(builder, blank_outside, [result, *outside.values()], axes, value)


def _resample(
    builder: relax.BlockBuilder, node: Node, resized: Resized, data: relax.Expr, axis: int
) -> relax.Expr:
    """Return `data` resampled along one axis."""
    mode = _text(node, "mode", "nearest")
    attributes = {RESAMPLED_AXIS: axis}
    if mode == "nearest":
        table = nearest(resized, _text(node, "nearest_mode", "round_prefer_floor"))
        times = len(table) // resized.size
        if np.array_equal(table, np.repeat(np.arange(resized.size), times)):
            # Later passes know this operator, and can read the input in its place.
            return relax.op.repeat(data, times, axis)
        places = relax.const(table, "int32")
        return builder.call_te(take_axis, data, places, axis, primfunc_attrs=attributes)
    positions, weights = weighted(
        resized,
        cubic=node.attributes.get("cubic_coeff_a", -0.75) if mode == "cubic" else None,
        antialias=bool(node.attributes.get("antialias", 0)),
        exclude_outside=bool(node.attributes.get("exclude_outside", 0)),
    )
    dtype = dtype_of(data)
    tables = relax.const(positions, "int32"), relax.const(weights.astype(dtype), dtype)
    return builder.call_te(resample_axis, data, *tables, axis, primfunc_attrs=attributes)


CONVERTERS = {"Resize": Converter(_convert, _refuse, constants=(1, 2, 3))}
