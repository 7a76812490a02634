"""Converters of operators with a sliding window: convolution and pooling."""

from __future__ import annotations

from typing import Any

from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node

_CONV = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}
_CONV_TRANSPOSE = {
    1: relax.op.nn.conv1d_transpose,
    2: relax.op.nn.conv2d_transpose,
    3: relax.op.nn.conv3d_transpose,
}
_MAX_POOL = {1: relax.op.nn.max_pool1d, 2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
_AVERAGE_POOL = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}


def _geometry(node: Node, kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return strides, dilation and explicit padding (all begins, then all ends).

    Padding at the end is set so that rounding down gives the output size that ONNX defines, also
    under `auto_pad` and `ceil_mode`.
    """
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
    return {"strides": strides, "padding": (*before, *after), "dilation": dilation}


def _kernel(node: Node) -> tuple[int, ...]:
    if "kernel_shape" in node.attributes:
        return tuple(node.attributes["kernel_shape"])
    return tuple(node.shape(1)[2:])


def _refuse_conv(node: Node) -> str | None:
    if node.rank() - 2 not in _CONV:
        return f"{node.rank() - 2} spatial axes; 1, 2 or 3 are supported"
    return _refuse_empty(node)


def _refuse_empty(node: Node) -> str | None:
    """Refuse windows that reach beyond the padded input."""
    kernel = _kernel(node)
    geometry = _geometry(node, kernel)
    before, after = geometry["padding"][: len(kernel)], geometry["padding"][len(kernel) :]
    for s, k, d, b, a in zip(
        node.shape(0)[2:], kernel, geometry["dilation"], before, after, strict=True
    ):
        if b < 0 or a < 0:
            return "negative padding"
        if d * (k - 1) + 1 > s + b + a:
            return f"a window of {d * (k - 1) + 1} does not fit an input of {s + b + a}"
    return None


def _convert_conv(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    data, weight = arguments[0], arguments[1]
    rank = node.rank() - 2
    result = _CONV[rank](
        data, weight, groups=node.attributes.get("group", 1), **_geometry(node, _kernel(node))
    )
    return _with_bias(builder, node, arguments, result)


def _transposed_padding(node: Node) -> list[int]:
    """Return explicit padding, also where ONNX gives the output's shape instead."""
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
    if any(size < 1 for size in node.shapes[node.outputs[0]]):
        return "the output is empty"
    return "negative padding" if min(_transposed_padding(node)) < 0 else None


def _convert_transposed(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    rank = node.rank() - 2
    ones = (1,) * rank
    result = _CONV_TRANSPOSE[rank](
        arguments[0],
        arguments[1],
        strides=tuple(node.attributes.get("strides", ones)),
        padding=tuple(_transposed_padding(node)),
        output_padding=tuple(node.attributes.get("output_padding", (0,) * rank)),
        dilation=tuple(node.attributes.get("dilations", ones)),
        groups=node.attributes.get("group", 1),
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


def _refuse_pool(node: Node) -> str | None:
    if node.rank() - 2 not in _MAX_POOL:
        return f"{node.rank() - 2} spatial axes; 1, 2 or 3 are supported"
    if node.op == "MaxPool" and len(node.outputs) > 1 and node.outputs[1]:
        return "indices of the maxima are not supported"
    if node.attributes.get("storage_order", 0):
        return "column-major storage order is not supported"
    return _refuse_empty(node)


def _refuse_average_pool(node: Node) -> str | None:
    kernel = _kernel(node)
    wanted = node.attributes.get("pads", (0,) * (2 * len(kernel)))
    hangs = tuple(wanted) != _geometry(node, kernel)["padding"]
    if hangs and any(wanted) and node.attributes.get("count_include_pad", 0):
        return "ceil_mode with counted padding where the last window hangs over is not supported"
    return _refuse_pool(node)


def _convert_max_pool(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    kernel = _kernel(node)
    return _MAX_POOL[len(kernel)](arguments[0], kernel, **_geometry(node, kernel))


def _convert_average_pool(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    kernel = _kernel(node)
    explicit = any(node.attributes.get("pads", ())) or "auto_pad" in node.attributes
    return _AVERAGE_POOL[len(kernel)](
        arguments[0],
        kernel,
        count_include_pad=bool(node.attributes.get("count_include_pad", 0)) and explicit,
        **_geometry(node, kernel),
    )


def _convert_global_pool(reduce: Any) -> Any:
    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
        return reduce(arguments[0], list(range(2, node.rank())), keepdims=True)

    return convert


CONVERTERS = {
    "Conv": Converter(_convert_conv, _refuse_conv),
    "ConvTranspose": Converter(_convert_transposed, _refuse_transposed, constants=(1,)),
    "MaxPool": Converter(_convert_max_pool, _refuse_pool),
    "AveragePool": Converter(_convert_average_pool, _refuse_average_pool),
    "GlobalAveragePool": Converter(_convert_global_pool(relax.op.mean)),
    "GlobalMaxPool": Converter(_convert_global_pool(relax.op.max)),
}
