"""Transposed convolutions with an output padding of a stride or more, in a form that all runs take.

PyTorch allows output padding below the larger of stride and dilation, and ONNX sets no limit;
ONNX Runtime refuses as much as the stride.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from edgeconv.exporter.graph import attribute, set_attribute


def settle_output_padding(model: onnx.ModelProto) -> bool:
    """Rewrite such layers where their weights are constants; changes `model`, and tells if it did.

    Output beyond the stride is either cut off less at the end, or reached by taps of zeros.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [
        node
        for node in model.graph.node
        if node.op_type == "ConvTranspose" and not node.domain and node.input[1] in weights
    ]
    changed = [_settle(model.graph, node, weights[node.input[1]]) for node in layers]
    return any(changed)


def _settle(graph: onnx.GraphProto, node: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    kernel = list(weight.dims[2:])
    ones, zeros = [1] * len(kernel), [0] * len(kernel)
    strides, dilations = attribute(node, "strides", ones), attribute(node, "dilations", ones)
    extra = attribute(node, "output_padding", zeros)
    explicit = attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
    beyond = [max(e - s + 1, 0) for e, s in zip(extra, strides, strict=True)]
    if not any(beyond) or not explicit or attribute(node, "output_shape", None):
        return False
    pads = attribute(node, "pads", zeros * 2)
    begin, end = pads[: len(kernel)], pads[len(kernel) :]
    # Each tap adds a dilation to the output, and what is too much of that is cut off.
    taps = [max(-(-(b - e) // d), 0) for b, e, d in zip(beyond, end, dilations, strict=True)]
    end = [e + t * d - b for b, e, d, t in zip(beyond, end, dilations, taps, strict=True)]
    if any(taps):
        node.input[1] = _with_taps(graph, weight, taps)
        set_attribute(node, "kernel_shape", [k + t for k, t in zip(kernel, taps, strict=True)])
    set_attribute(node, "pads", [*begin, *end])
    set_attribute(node, "output_padding", [e - b for e, b in zip(extra, beyond, strict=True)])
    return True


def _with_taps(graph: onnx.GraphProto, weight: onnx.TensorProto, taps: Iterable[int]) -> str:
    """Return the name of the weights with so many zeros behind them along each spatial axis."""
    name = f"{weight.name}/with_{'x'.join(map(str, taps))}_zeros"
    if all(tensor.name != name for tensor in graph.initializer):
        behind = [(0, 0), (0, 0), *((0, tap) for tap in taps)]
        values = np.pad(numpy_helper.to_array(weight), behind)
        graph.initializer.append(numpy_helper.from_array(values, name))
    return name
