"""Converters of padding and cropping."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from edgeconv.compiler.compute.layout import pad_spatial
from edgeconv.compiler.compute.resample import take_axis
from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node

# NumPy's names of the modes whose padding repeats the data.
_MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _mode(node: Node) -> str:
    mode = node.attributes.get("mode", b"constant")
    return mode.decode() if isinstance(mode, bytes) else str(mode)


def _amounts(node: Node) -> list[tuple[int, int]]:
    """Return (before, after) of every axis; negative amounts cut off."""
    given = node.constant(1) if node.has_input(1) else node.attributes["pads"]
    pads = [int(pad) for pad in np.asarray(given).reshape(-1)]
    chosen = node.constant(3)
    axes = range(node.rank()) if chosen is None else [int(a) for a in chosen.reshape(-1)]
    half = len(pads) // 2
    amounts = [(0, 0)] * node.rank()
    for axis, before, after in zip(axes, pads[:half], pads[half:], strict=True):
        amounts[axis % node.rank()] = (before, after)
    return amounts


def _refuse_pad(node: Node) -> str | None:
    if _mode(node) != "constant" and _mode(node) not in _MODES:
        return f"mode {_mode(node)!r} is not supported"
    for size, (before, after) in zip(node.shape(0), _amounts(node), strict=True):
        kept = size + min(before, 0) + min(after, 0)
        if size + before + after < 1:
            return "the output is empty"
        if kept < 1 and _mode(node) != "constant":
            return "nothing is left to repeat, as negative padding cuts off a whole axis"
    return None


def _sources(size: int, before: int, after: int, mode: str) -> npt.NDArray[np.int32]:
    """Return which position of an axis each padded position repeats."""
    kept = np.arange(size, dtype=np.int32)[max(-before, 0) : size - max(-after, 0)]
    options: dict[str, Any] = {"mode": _MODES[mode]}
    return np.pad(kept, (max(before, 0), max(after, 0)), **options)


def _convert_pad(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    amounts = _amounts(node)
    if _mode(node) == "constant":
        given = node.constant(2) if node.has_input(2) else node.attributes.get("value", 0.0)
        return _fill(builder, arguments[0], amounts, given)
    result = arguments[0]
    for axis, (before, after) in enumerate(amounts):
        if before or after:
            table = _sources(node.shape(0)[axis], before, after, _mode(node))
            call = builder.call_te(take_axis, result, relax.const(table, "int32"), axis)
            result = builder.emit(call)
    return result


def _fill(
    builder: relax.BlockBuilder, data: Any, amounts: list[tuple[int, int]], value: Any
) -> relax.Expr:
    before, after = zip(*amounts, strict=True)
    fill = np.asarray(value).reshape(()).item()
    return builder.call_te(
        lambda tensor: pad_spatial(tensor, before, after, first=0, fill=fill),
        data,
        primfunc_name_hint="pad",
    )


def _convert_center_crop_pad(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """Crop or pad around the middle; where the difference is odd, the end gets more of it."""
    amounts = []
    for size, wanted in zip(node.shape(0), node.shapes[node.outputs[0]], strict=True):
        half, rest = divmod(abs(wanted - size), 2)
        amounts.append((half, half + rest) if wanted > size else (-half, -half - rest))
    return _fill(builder, arguments[0], amounts, 0)


CONVERTERS = {
    "Pad": Converter(_convert_pad, _refuse_pad, constants=(1, 2, 3)),
    "CenterCropPad": Converter(_convert_center_crop_pad, constants=(1,)),
}
