"""The ways to convolve on a GPU: on NCHW4c data throughout, whose borders the kernels pad."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.conv import (
    conv_blocked,
    conv_grouped_lanes,
    depthwise_blocked,
    pointwise_blocked,
)
from edgeconv.compiler.compute.deformable import deformable_blocked
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.deformable import surrounding_pixels
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_conv_weight, pack_depthwise_weight
from edgeconv.compiler.passes.rewriting import shape_of, substitute
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import Tile, block_counts, choose_tile
from edgeconv.compiler.schedules.machine import round_up

BLOCK = GpuMachine.lanes


def deformable(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take products of sampled columns with constant weights; emit the columns of others."""
    if conv.data.name not in forms.samplings:
        return None
    sampling, call = forms.samplings[conv.data.name]
    forms.tables.families[name] = "deformable"
    ins, outs = sampling.channels // conv.groups, conv.out_channels // conv.groups
    moved = sampling.channels // sampling.offset_groups
    whole = ins % BLOCK == moved % BLOCK == 0 and (conv.groups == 1 or outs % BLOCK == 0)
    if conv.weight is None or not whole:
        forms.emit(conv.data, substitute(call, forms.as_plain))
        return None
    data, *moves = call.args[1].fields
    pixels = surrounding_pixels(forms, name, data, [])
    tile = _tile(forms, conv, shape_of(pixels)[0], (sampling.pixels,))
    kernels = conv.weight.reshape(conv.out_channels, -1, sampling.window.taps)
    weight = constant(pack_conv_weight(kernels, BLOCK, tile.blocks))
    options = {
        "sampling": sampling,
        "groups": conv.groups,
        "columns": tile.columns,
        "tiles": -(-sampling.pixels // tile.columns),
    }
    tensors = [pixels, weight, *map(forms.as_plain, moves)]
    return forms.call(deformable_blocked, tensors, **options), BLOCK


def depthwise(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take depthwise convolutions."""
    if not conv.is_depthwise:
        return None
    data = forms.as_blocked(conv.data)
    weight = packed_weight(forms, name, conv, partial(pack_depthwise_weight, block=BLOCK))
    return forms.call(depthwise_blocked, [data, weight], conv.window), BLOCK


def pointwise(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take 1x1 convolutions: all pixels in one row."""
    if not conv.is_pointwise:
        return None
    data = _input(forms, conv)
    batch, blocks, *size, in_block = shape_of(data)
    row = forms.builder.emit(relax.op.reshape(data, (batch, blocks, prod(size), in_block)))
    tile = _tile(forms, conv, batch, (prod(size),), whole=True)

    def pack(weight: Array) -> Array:
        return pack_conv_weight(weight.reshape(weight.shape[:2]), BLOCK, tile.blocks)

    weight = packed_weight(forms, name, conv, pack)
    return forms.call(pointwise_blocked, [row, weight], conv.size), BLOCK


def direct(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take groups that consist of whole blocks."""
    if conv.groups > 1 and conv.out_channels // conv.groups % BLOCK:
        return None
    data, window = _input(forms, conv), conv.window
    reach = window.dilation[-1] * (window.kernel[-1] - 1) + 1, window.stride[-1]
    tile = _tile(forms, conv, shape_of(data)[0], conv.size, reach=reach)
    columns = round_up(conv.size[-1], tile.columns)
    beyond = (columns - conv.size[-1]) * window.stride[-1]
    after = (*window.pad_after[:-1], window.pad_after[-1] + beyond)
    pack = partial(pack_conv_weight, block=BLOCK, tile=tile.blocks, in_block=shape_of(data)[-1])
    weight = packed_weight(forms, name, conv, pack)
    call = forms.call(
        conv_blocked,
        [data, weight],
        replace(window, pad_after=after),
        groups=conv.groups,
        size=conv.size,
        columns=columns,
        pads=True,
    )
    return call, BLOCK


def _tile(
    forms: Forms,
    conv: Convolution,
    batch: int,
    size: tuple[int, ...],
    *,
    reach: tuple[int, int] = (1, 1),
    whole: bool = False,
) -> Tile:
    machine = forms.machine
    assert isinstance(machine, GpuMachine)
    blocks = -(-conv.out_channels // BLOCK)
    others = batch * blocks * prod(size[:-1])
    counts = block_counts(blocks // conv.groups)
    return choose_tile(size[-1], others, counts, machine, reach=reach, whole=whole)


def grouped(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take any other groups, whose channels are found lane by lane."""
    data = forms.as_blocked(conv.data)
    weight = packed_weight(forms, name, conv, partial(pack_conv_weight, block=BLOCK, tile=1))
    outs = conv.out_channels // conv.groups
    call = forms.call(
        conv_grouped_lanes, [data, weight], conv.window, groups=conv.groups, outs=outs
    )
    return call, BLOCK


def _input(forms: Forms, conv: Convolution) -> relax.Expr:
    """Return blocked input; few plain channels are read as blocks of one."""
    data = conv.data
    if data.name in forms.blocked or conv.in_channels >= BLOCK or conv.groups > 1:
        return forms.as_blocked(data)
    plain = forms.plain[data.name]
    return forms.builder.emit(
        relax.op.reshape(plain, (*shape_of(plain), 1)), f"{data.name}_unit_blocks"
    )
