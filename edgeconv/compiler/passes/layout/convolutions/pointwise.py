"""Pointwise: all pixels in one row, so that tiles need not end with the image's rows."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.conv import pointwise_blocked
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import blocked_input, choose_tile
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take 1x1 convolutions with constant weights, unless rows have the better tiles."""
    if conv.weight is None or not conv.is_pointwise:
        return None
    data = blocked_input(forms, conv)
    block, tile = choose_tile(forms, conv, data, prod(conv.size), whole=True)
    _, row_tile = choose_tile(forms, conv, data, conv.size[-1])
    if tile.cost > row_tile.cost:
        return None
    batch, blocks, *size, in_block = shape_of(data)
    row = forms.builder.emit(relax.op.reshape(data, (batch, blocks, prod(size), in_block)))
    channels = conv.weight.reshape(conv.weight.shape[:2])
    weight = constant(pack_conv_weight(channels, block, tile.blocks))
    return forms.call(pointwise_blocked, [row, weight], conv.size), block
