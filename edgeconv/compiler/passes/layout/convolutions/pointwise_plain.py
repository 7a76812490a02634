"""Pointwise in the plain layout, where blocks would be made and taken apart for it alone."""

from __future__ import annotations

from math import prod

import numpy as np
import tvm

from edgeconv.compiler.compute.conv import pointwise_plain
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import choose_pixel_tile
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import (
    Machine,
    RegisterTile,
    channel_block,
    plain_pixel_tile,
)

# Issue slots in which a vector is moved from one layout to the other, near the core (AVX-512).
RELAYOUT_SLOTS = 16


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take 1x1 convolutions of plain tensors whose result is read as such, where that is faster."""
    core, pixels = forms.core, prod(conv.size)
    fits = conv.is_pointwise and pixels >= core.lanes and str(conv.data.ty.dtype) == "float32"
    if core.lane_fma or not fits:
        return None
    if conv.data.name in forms.blocked or not forms.stays_plain(name):
        return None
    tile = plain_pixel_tile(conv.out_channels, pixels, core)
    if _plain_cost(conv, tile, core) > _blocked_cost(forms, conv):
        return None
    batch, channels = shape_of(conv.data)[:2]
    row = forms.reshaped(conv.data, (batch, channels, pixels))

    def pack(weight: Array) -> Array:
        panels = weight.reshape(-1, tile.rows, channels)
        return np.ascontiguousarray(panels.transpose(0, 2, 1))

    weight = packed_weight(forms, name, conv, pack)
    return forms.call(pointwise_plain, [row, weight], conv.size), 0


def _plain_cost(conv: Convolution, tile: RegisterTile, core: Machine) -> float:
    """Return the issue slots of a sample, where tiles that share pixels read a copy of them."""
    vectors = prod(conv.size) / core.lanes
    copied = conv.in_channels if conv.out_channels > tile.rows else 0
    return vectors * (conv.out_channels * conv.in_channels * tile.cost + copied)


def _blocked_cost(forms: Forms, conv: Convolution) -> float:
    """Return the issue slots of a sample in blocks, from plain tensor to plain tensor."""
    core, pixels = forms.core, prod(conv.size)
    tile = choose_pixel_tile(forms, conv, channel_block(conv.in_channels, core), pixels)[1]
    blocks = -(-conv.out_channels // conv.out_block(core))
    moved = (conv.in_channels + conv.out_channels) / core.lanes
    return pixels * (blocks * conv.in_channels * tile.cost + moved * RELAYOUT_SLOTS)
