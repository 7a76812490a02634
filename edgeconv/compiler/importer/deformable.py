"""DeformConv: deformable sampling, then a matrix product over taps and channels."""

from __future__ import annotations

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.deformable import deformable_columns
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _refuse(node: Node) -> str | None:
    if node.rank() != 4:
        return f"{node.rank() - 2} spatial axes; only images are supported"
    if node.constant(1) is None or (node.has_input(3) and node.constant(3) is None):
        return "weights that are computed at run time are not supported"
    return None


def _convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    weight = np.asarray(node.constant(1))
    out_channels, channels, *kernel = weight.shape
    pads = node.attributes.get("pads", (0, 0, 0, 0))
    window = Window(
        kernel=tuple(kernel),
        stride=tuple(node.attributes.get("strides", (1, 1))),
        pad_before=tuple(pads[:2]),
        pad_after=tuple(pads[2:]),
        dilation=tuple(node.attributes.get("dilations", (1, 1))),
    )
    offset_groups = node.attributes.get("offset_group", 1)
    tensors = [arguments[0], arguments[2], *(arguments[4:5] if node.has_input(4) else ())]
    columns = builder.emit(
        builder.call_te(
            lambda *operands: deformable_columns(*operands, window, offset_groups),
            *tensors,
            primfunc_name_hint="deformable_columns",
        )
    )
    flat = weight.reshape(out_channels, channels * window.taps, 1, 1)
    product = relax.op.nn.conv2d(
        columns, relax.const(flat, "float32"), groups=node.attributes.get("group", 1)
    )
    bias = node.constant(3)
    if bias is None:
        return product
    shaped = relax.const(bias.reshape(1, -1, 1, 1), "float32")
    return relax.op.add(builder.emit(product), shaped)


CONVERTERS = {"DeformConv": Converter(_convert, _refuse)}
