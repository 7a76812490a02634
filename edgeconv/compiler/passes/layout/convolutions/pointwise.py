"""Pointwise: all pixels in one row, so that tiles need not end with the image's rows."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.conv import pointwise_blocked
from edgeconv.compiler.compute.layout import strided
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import (
    blocked_input,
    choose_pixel_tile,
    choose_tile,
)
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take 1x1 convolutions, unless rows have the better tiles.

    With a stride, the pixels that count are put together first.
    """
    if not conv.mixes_channels:
        return None
    data = blocked_input(forms, conv)
    block, tile = choose_pixel_tile(forms, conv, shape_of(data)[-1], prod(conv.size))
    _, row_tile = choose_tile(forms, conv, data, conv.size[-1])
    if tile.cost > row_tile.cost:
        return None
    if not conv.is_pointwise:
        data = _put_together(forms, name, conv, data)
    batch, blocks, *size, in_block = shape_of(data)
    row = forms.builder.emit(relax.op.reshape(data, (batch, blocks, prod(size), in_block)))

    def pack(weight: Array) -> Array:
        return pack_conv_weight(weight.reshape(weight.shape[:2]), block, tile.blocks)

    weight = packed_weight(forms, name, conv, pack)
    blocks = -(-conv.out_channels // block)
    return forms.call(pointwise_blocked, [row, weight], conv.size, blocks=blocks), block


def _put_together(forms: Forms, name: str, conv: Convolution, data: relax.Expr) -> relax.Expr:
    """Return the pixels of `data` that the convolution reads."""
    pixels = forms.builder.emit(
        forms.call(strided, [data], conv.window.stride, conv.size), f"{name}_pixels"
    )
    forms.tables.families[pixels.name] = "strided"
    forms.tables.layers[pixels.name] = forms.tables.layers.get(name, ())
    return pixels
