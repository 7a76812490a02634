"""Temporal: kernels along the first of three axes; all pixels of a frame in one row."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.conv import temporal_blocked
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import (
    blocked_input,
    choose_image_tile,
    choose_pixel_tile,
    padded_input,
)
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of

_RANK = 3


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take what reads one pixel of each frame, unless rows have the better tiles."""
    if not _along_frames(conv):
        return None
    data = blocked_input(forms, conv)
    block, tile = choose_pixel_tile(forms, conv, shape_of(data)[-1], prod(conv.size[1:]))
    _, row_tile = choose_image_tile(forms, conv, data)
    if tile.cost > row_tile.cost or shape_of(data)[-1] == 1:
        return None
    data = padded_input(forms, name, data, conv.window, conv.size[-1])
    batch, blocks, frames, *size, in_block = shape_of(data)
    rows = (batch, blocks, frames, prod(size), in_block)
    row = forms.builder.emit(relax.op.reshape(data, rows))

    def pack(weight: Array) -> Array:
        return pack_conv_weight(weight.reshape(weight.shape[:3]), block, tile.blocks)

    weight = packed_weight(forms, name, conv, pack)
    blocks = -(-conv.out_channels // block)
    return forms.call(temporal_blocked, [row, weight], conv.window, conv.size, blocks=blocks), block


def _along_frames(conv: Convolution) -> bool:
    window = conv.window
    unit = window.kernel[1:] == window.stride[1:] == (1, 1)
    padded = any((*window.pad_before[1:], *window.pad_after[1:]))
    return conv.groups == 1 and len(window.kernel) == _RANK and unit and not padded
