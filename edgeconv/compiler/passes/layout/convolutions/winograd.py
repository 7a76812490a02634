"""Winograd: 3x3 kernels of stride 1, where the transforms pay and rounding errors stay small."""

from __future__ import annotations

from math import prod, sqrt

import tvm

from edgeconv.compiler.compute.toom_cook import POINTS, TAPS, amplification, transform_weight
from edgeconv.compiler.compute.winograd import conv_winograd
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import channel_block
from edgeconv.compiler.schedules.winograd import Layer, choose

# Tolerances give a sum of n products sqrt(n) roundings, and sums in the transform domain are 9
# times shorter: that much, and the distance of sums from their tolerance, is left to amplification.
MAX_AMPLIFICATION = 12.0
# The transforms round as often as sums of so many products more.
TRANSFORM_TERMS = 8


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take constant fp32 weights whose groups consist of whole blocks, where the model says so."""
    if conv.weight is None or not _fits(forms, conv):
        return None
    data = forms.as_blocked(conv.data)
    if conv.groups > 1 and conv.weight_shape[1] % shape_of(data)[-1]:
        return None
    layer = _layer(forms, conv, shape_of(data))
    limit = MAX_AMPLIFICATION / sqrt(1 + TRANSFORM_TERMS / layer.depth)
    sizes = [m for m in POINTS if amplification(conv.weight, m) <= limit]
    chosen = choose(layer, sizes, forms.machine)
    if chosen is None:
        return None
    tiling, tile = chosen
    weight = pack_conv_weight(transform_weight(conv.weight, tiling.m), layer.out_block, tile.blocks)
    call = forms.call(
        conv_winograd,
        [data, constant(weight)],
        conv.window,
        groups=conv.groups,
        size=conv.size,
        tiling=tiling,
    )
    return call, layer.out_block


def _fits(forms: Forms, conv: Convolution) -> bool:
    window = conv.window
    return (
        window.kernel[-2:] == (TAPS, TAPS)
        and window.stride[-2:] == window.dilation[-2:] == (1, 1)
        and str(conv.data.ty.dtype) == "float32"
        and conv.weight_shape[1] >= forms.machine.lanes
        and conv.out_block(forms.machine) == channel_block(conv.out_channels, forms.machine)
    )


def _layer(forms: Forms, conv: Convolution, blocked: tuple[int, ...]) -> Layer:
    *lead, height, width = conv.size
    out_block = conv.out_block(forms.machine)
    return Layer(
        planes=blocked[0] * prod(lead),
        height=height,
        width=width,
        taps=prod(conv.window.kernel[:-2]),
        groups=conv.groups,
        channels=conv.weight_shape[1],
        in_blocks=blocked[1],
        in_block=blocked[-1],
        out_blocks=-(-conv.out_channels // out_block),
        out_block=out_block,
    )
