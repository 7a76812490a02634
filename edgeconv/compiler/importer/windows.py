"""Converters of operators with a sliding window: convolution and pooling."""

from __future__ import annotations

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.transposed import col2im, conv_transposed
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.importer.converter import Arguments, Converter, computed
from edgeconv.compiler.importer.node import Node

CONVOLUTIONS = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}
_CONV_TRANSPOSE = {
    1: relax.op.nn.conv1d_transpose,
    2: relax.op.nn.conv2d_transpose,
    3: relax.op.nn.conv3d_transpose,
}


def window_of(node: Node) -> Window:
    """Return the geometry of a node, with explicit padding.

    Padding at the end is set so that rounding down gives the output size that ONNX defines, also
    under `auto_pad` and `ceil_mode`.
    """
    kernel = _kernel(node)
    rank = len(kernel)
    size = node.shape(0)[2:]
    strides = tuple(node.attributes.get("strides", (1,) * rank))
    dilation = tuple(node.attributes.get("dilations", (1,) * rank))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    auto = node.attributes.get("auto_pad", b"NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    if auto.startswith("SAME"):
        totals = [
            max((-(-s // stride) - 1) * stride + span - s, 0)
            for s, stride, span in zip(size, strides, spans, strict=True)
        ]
        small = [total // 2 for total in totals]
        large = [total - total // 2 for total in totals]
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    else:
        pads = list(node.attributes.get("pads", (0,) * (2 * rank)))
        before, after = pads[:rank], pads[rank:]
        if auto == "VALID":
            before, after = [0] * rank, [0] * rank
    if node.attributes.get("ceil_mode", 0):
        for axis, (s, stride, span) in enumerate(zip(size, strides, spans, strict=True)):
            steps = -(-(s + before[axis] + after[axis] - span) // stride)
            if steps * stride >= s + before[axis]:  # a window must start inside
                steps -= 1
            after[axis] = max(after[axis], steps * stride + span - s - before[axis])
    return Window(kernel, strides, tuple(before), tuple(after), dilation)


def relax_geometry(window: Window) -> dict[str, tuple[int, ...]]:
    """Return `window` as keywords of a Relax operator."""
    return {
        "strides": window.stride,
        "padding": (*window.pad_before, *window.pad_after),
        "dilation": window.dilation,
    }


def _kernel(node: Node) -> tuple[int, ...]:
    if "kernel_shape" in node.attributes:
        return tuple(node.attributes["kernel_shape"])
    weight = 3 if node.op == "QLinearConv" else 1
    return tuple(node.shape(weight)[2:])


def refuse_conv(node: Node) -> str | None:
    """Refuse convolutions over too many axes, and windows that do not fit."""
    if node.rank() - 2 not in CONVOLUTIONS:
        return f"{node.rank() - 2} spatial axes; 1, 2 or 3 are supported"
    return refuse_empty(node)


def refuse_empty(node: Node) -> str | None:
    """Refuse windows that reach beyond the padded input."""
    window = window_of(node)
    for size, k, dilation, before, after in zip(
        node.shape(0)[2:],
        window.kernel,
        window.dilation,
        window.pad_before,
        window.pad_after,
        strict=True,
    ):
        if before < 0 or after < 0:
            return "negative padding"
        reach = dilation * (k - 1) + 1
        if reach > size + before + after:
            return f"a window of {reach} does not fit an input of {size + before + after}"
    return None


def _convert_conv(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    groups = node.attributes.get("group", 1)
    geometry = relax_geometry(window_of(node))
    result = CONVOLUTIONS[node.rank() - 2](arguments[0], arguments[1], groups=groups, **geometry)
    return _with_bias(builder, node, arguments, result)


def _transposed_padding(node: Node) -> list[int]:
    """Return explicit padding, also where ONNX gives the output's shape instead.

    Negative padding at an end means positions that no input reaches.
    """
    kernel = _kernel(node)
    rank = len(kernel)
    auto = node.attributes.get("auto_pad", b"NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    if auto == "NOTSET" and "output_shape" not in node.attributes:
        return list(node.attributes.get("pads", (0,) * (2 * rank)))
    strides = node.attributes.get("strides", (1,) * rank)
    dilation = node.attributes.get("dilations", (1,) * rank)
    extra = node.attributes.get("output_padding", (0,) * rank)
    sizes = zip(node.shape(0)[2:], node.shapes[node.outputs[0]][2:], strict=True)
    totals = [
        s * (i - 1) + e + d * (k - 1) + 1 - o
        for (i, o), s, e, d, k in zip(sizes, strides, extra, dilation, kernel, strict=True)
    ]
    small = [total // 2 for total in totals]
    large = [total - total // 2 for total in totals]
    return [*small, *large] if auto == "SAME_UPPER" else [*large, *small]


def _refuse_transposed(node: Node) -> str | None:
    if node.rank() - 2 not in _CONV_TRANSPOSE:
        return f"{node.rank() - 2} spatial axes; 1, 2 or 3 are supported"
    shape = node.shapes[node.outputs[0]]
    if len(shape) != node.rank():
        return "an output_shape smaller than the input: ONNX does not infer its shape"
    if any(size < 1 for size in shape):
        return "the output is empty"
    if min(_transposed_padding(node)[: node.rank() - 2]) < 0:
        return "an output_shape that needs negative padding at the begin, which is not defined"
    return None


def _convert_transposed(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    rank = node.rank() - 2
    ones = (1,) * rank
    strides = tuple(node.attributes.get("strides", ones))
    dilation = tuple(node.attributes.get("dilations", ones))
    padding = tuple(_transposed_padding(node))
    groups = node.attributes.get("group", 1)
    if node.constant(1) is None or min(padding) < 0:
        window = Window(_kernel(node), strides, padding[:rank], padding[rank:], dilation)
        size = node.shapes[node.outputs[0]][2:]
        call = computed(builder, conv_transposed, arguments[:2], window, groups, size)
        return _with_bias(builder, node, arguments, call)
    result = _CONV_TRANSPOSE[rank](
        arguments[0],
        arguments[1],
        strides=strides,
        padding=padding,
        output_padding=tuple(node.attributes.get("output_padding", (0,) * rank)),
        dilation=dilation,
        groups=groups,
    )
    return _with_bias(builder, node, arguments, result)


def _with_bias(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments, result: relax.Expr
) -> relax.Expr:
    if not node.has_input(2):
        return result
    product = builder.emit(result)
    shape = (1, node.shape(2)[0], *(1,) * (node.rank() - 2))
    constant = node.constant(2)
    if constant is None:
        bias = builder.emit(relax.op.reshape(arguments[2], shape))
    else:
        bias = relax.const(constant.reshape(shape), str(constant.dtype))
    return relax.op.add(product, bias)


def _convert_col2im(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    size, kernel = ([int(s) for s in np.asarray(node.constant(i)).reshape(-1)] for i in (1, 2))
    ones, pads = (1,) * len(size), node.attributes.get("pads", (0,) * (2 * len(size)))
    window = Window(
        kernel=tuple(kernel),
        stride=tuple(node.attributes.get("strides", ones)),
        pad_before=tuple(pads[: len(size)]),
        pad_after=tuple(pads[len(size) :]),
        dilation=tuple(node.attributes.get("dilations", ones)),
    )
    batch, rows, columns = node.shape(0)
    split = (batch, rows // window.taps, window.taps, columns)
    data = builder.emit(relax.op.reshape(arguments[0], split))
    return computed(builder, col2im, [data], window, size)


CONVERTERS = {
    "Conv": Converter(_convert_conv, refuse_conv),
    "ConvTranspose": Converter(_convert_transposed, _refuse_transposed),
    "Col2Im": Converter(_convert_col2im, constants=(1, 2)),
}
