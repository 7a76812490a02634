"""Winograd: 3x3 kernels of stride 1 or 2 where transforms pay, and rounding errors stay small."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt

import tvm
from tvm import relax

from edgeconv.compiler.compute.skipping import Skip
from edgeconv.compiler.compute.toom_cook import (
    SIZES,
    STRIDES,
    TAPS,
    amplification,
    transform_weight,
)
from edgeconv.compiler.compute.winograd import Tiling, conv_winograd
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import skips_in
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import RegisterTile, channel_block
from edgeconv.compiler.schedules.winograd import Layer, choose, direct_cost

# Tolerances give a sum of n products sqrt(n) roundings, and sums in the transform domain are 9
# times shorter: that much, and the distance of sums from their tolerance, is left to amplification.
MAX_AMPLIFICATION = 11.0
# The transforms round as often as sums of so many products more (measured: 11 to 14, for 8 to 64
# channels and tiles of 4x4).
TRANSFORM_TERMS = 13


Plan = tuple[Tiling, RegisterTile]


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take what `fits` without dilation, where the model says so."""
    if conv.window.dilation[-2:] != (1, 1) or not fits(forms, conv):
        return None
    data = forms.as_blocked(conv.data)
    layer = layer_of(forms, conv, shape_of(data))
    layer = replace(layer, skips=tuple(lead_skips(data, conv)))
    chosen = plan(forms, conv, layer, direct_cost(layer, forms.core, skips_in(data, conv)))
    return None if chosen is None else (transformed(forms, conv, data, chosen), layer.out_block)


def fits(forms: Forms, conv: Convolution) -> bool:
    """Whether weights are constant, 3x3 and fp32, and groups consist of whole blocks.

    Axes before the last two may have any kernel. Nothing fits where the algorithm is switched off.
    """
    machine, per_group = forms.machine, conv.weight_shape[1]
    return (
        forms.winograd
        and conv.weight is not None
        and conv.window.kernel[-2:] == (TAPS, TAPS)
        and conv.window.stride[-2:] in [(stride, stride) for stride in STRIDES]
        and str(conv.data.ty.dtype) == "float32"
        and per_group >= machine.lanes
        and (conv.groups == 1 or per_group % machine.lanes == 0)
        and conv.out_block(machine) == channel_block(conv.out_channels, machine)
    )


def plan(forms: Forms, conv: Convolution, layer: Layer, budget: float) -> Plan | None:
    """Return how to compute a convolution that `fits`, in fewer issue slots than `budget`."""
    return choose(layer, permitted_sizes(conv, layer), forms.core, budget)


def permitted_sizes(conv: Convolution, layer: Layer) -> list[int]:
    """Return the sizes of tiles whose rounding errors stay within the tolerance of a direct sum."""
    limit = MAX_AMPLIFICATION / sqrt(1 + TRANSFORM_TERMS / layer.depth)
    return [m for m in SIZES if amplification(conv.constant, m, layer.stride) <= limit]


def transformed(forms: Forms, conv: Convolution, data: relax.Expr, chosen: Plan) -> tvm.ir.Call:
    """Return a call that convolves blocked `data` as planned."""
    tiling, tile = chosen
    return forms.call(
        conv_winograd,
        [data, packed_weight(forms, conv, tiling, tile.blocks)],
        conv.window,
        groups=conv.groups,
        size=conv.size,
        blocks=-(-conv.out_channels // conv.out_block(forms.machine)),
        tiling=tiling,
        skips=lead_skips(data, conv),
    )


def lead_skips(data: relax.Expr, conv: Convolution) -> list[Skip]:
    """Return the axes before the last two, along which taps are left out that read padding alone.

    There have to be several blocks of channels in blocked `data`, for the loop over taps to go
    around.
    """
    if conv.weight_shape[1] <= shape_of(data)[-1]:
        return []
    return skips_in(data, conv)[:-2]


def packed_weight(forms: Forms, conv: Convolution, tiling: Tiling, blocks: int) -> relax.Constant:
    """Return transformed weights, packed for register tiles of `blocks`."""
    weight = transform_weight(conv.constant, tiling.m, tiling.stride)
    return constant(pack_conv_weight(weight, conv.out_block(forms.machine), blocks))


def layer_of(forms: Forms, conv: Convolution, blocked: tuple[int, ...]) -> Layer:
    """Return the convolution as the model sees it; `blocked` is the shape of its input."""
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
        stride=conv.window.stride[-1],
    )
