"""Pooling whose size rounds up: windows that would start in the padding at the end do not count.

ONNX's operators say so ("Sliding windows that would start in the right padded region are
ignored", MaxPool-19), as PyTorch and ONNX Runtime do; ONNX's shape inference counts them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from edgeconv.exporter.graph import ValueType, attribute, set_attribute, value_types

_POOLS = frozenset(["AveragePool", "LpPool", "MaxPool"])


def settle_pools(model: onnx.ModelProto) -> None:
    """Rewrite the pools whose shape would be inferred wrong; changes `model`.

    Each gets padding with which rounding down gives the right size. An average that counts its
    padding gets its input cut off behind the last window instead.
    """
    # A wrong shape makes those after it wrong, so the first is mended first.
    while (found := _first_wrong(model)) is not None:
        node, size, reach = found
        if attribute(node, "count_include_pad", 0):
            _cut_input(model.graph, node, size, reach)
        else:
            set_attribute(node, "ceil_mode", 0)
            _pad_to(node, size, reach)


def _first_wrong(model: onnx.ModelProto) -> tuple[onnx.NodeProto, list[int], list[int]] | None:
    """Return a node, its input's size, and the end of its last window from the input's begin."""
    pools = [node for node in model.graph.node if _rounds_up(node)]
    if not pools:
        return None
    types = value_types(onnx.shape_inference.infer_shapes(model, data_prop=True))
    for node in pools:
        if node.input[0] not in types or node.output[0] not in types:
            continue
        size = list(types[node.input[0]].shape[2:])
        reach = _reach(node, size, types)
        if reach is not None:
            return node, size, reach
    return None


def _rounds_up(node: onnx.NodeProto) -> bool:
    given = attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    rounds = given and bool(attribute(node, "ceil_mode", 0))
    return rounds and node.op_type in _POOLS and not node.domain


def _pads(node: onnx.NodeProto) -> tuple[list[int], list[int]]:
    rank = len(attribute(node, "kernel_shape", []))
    if attribute(node, "auto_pad", b"NOTSET") == b"VALID":
        return [0] * rank, [0] * rank
    pads = attribute(node, "pads", [0] * (2 * rank))
    return pads[:rank], pads[rank:]


def _reach(
    node: onnx.NodeProto, size: list[int], types: Mapping[str, ValueType]
) -> list[int] | None:
    """Return where the last windows end, or None where the inferred shape is right."""
    before, after = _pads(node)
    ones = [1] * len(size)
    strides, dilations = attribute(node, "strides", ones), attribute(node, "dilations", ones)
    reach, windows = [], []
    for axis, kernel in enumerate(attribute(node, "kernel_shape", [])):
        stride, span = strides[axis], dilations[axis] * (kernel - 1) + 1
        inside = size[axis] + before[axis]
        steps = -(-(inside + after[axis] - span) // stride)
        if steps * stride >= inside:
            steps -= 1
        windows.append(steps + 1)
        reach.append(steps * stride + span - before[axis])
    return None if types[node.output[0]].shape[2:] == tuple(windows) else reach


def _pad_to(node: onnx.NodeProto, size: list[int], reach: list[int]) -> None:
    before, after = _pads(node)
    ends = [max(a, r - s) for a, r, s in zip(after, reach, size, strict=True)]
    set_attribute(node, "pads", [*before, *ends])
    set_attribute(node, "auto_pad", "NOTSET")


def _cut_input(
    graph: onnx.GraphProto, node: onnx.NodeProto, size: list[int], reach: list[int]
) -> None:
    """Cut the input and its padding where no window reaches; a window that hangs over stays so."""
    before, after = _pads(node)
    ends = [min(s, r) for s, r in zip(size, reach, strict=True)]
    over = [max(r - s, 0) for r, s in zip(reach, size, strict=True)]
    set_attribute(node, "pads", [*before, *(min(a, o) for a, o in zip(after, over, strict=True))])
    set_attribute(node, "auto_pad", "NOTSET")
    if ends == size:
        return
    axes = range(2, 2 + len(size))
    cut = f"{node.output[0]}/cut"
    constants = {"starts": [0] * len(size), "ends": ends, "axes": list(axes)}
    for name, values in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), f"{cut}/{name}"))
    names = [node.input[0], *(f"{cut}/{name}" for name in constants)]
    position = list(graph.node).index(node)
    node.input[0] = cut
    graph.node.insert(position, helper.make_node("Slice", names, [cut], name=cut))
