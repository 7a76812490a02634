"""Deformable: a product of sampled columns, which never stand in memory as a whole."""

from __future__ import annotations

from math import gcd, prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.deformable import (
    Sampling,
    deformable_blocked,
    deformable_depthwise,
    surrounded_pixels,
)
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight, pack_depthwise_weight
from edgeconv.compiler.passes.rewriting import shape_of, substitute
from edgeconv.compiler.schedules.cpu.blocking import band_count
from edgeconv.compiler.schedules.cpu.runs import product_tile
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    channel_block,
    round_up,
    tile_counts,
)


def columns(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Put off the sampling of columns until their reader is known; leave other kernels."""
    sampling = Sampling.read(forms.tables.module[call.args[0]])
    if sampling is not None:
        forms.samplings[var.name] = (sampling, call)
    return sampling is not None


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take products of sampled columns with constant weights; emit the columns of others."""
    if conv.data.name not in forms.samplings:
        return None
    sampling, call = forms.samplings[conv.data.name]
    forms.tables.families[name] = "deformable"
    if conv.weight is None:
        forms.emit(conv.data, substitute(call, forms.as_plain))
        return None
    data, *moves = call.args[1].fields
    depthwise = 1 < conv.groups == sampling.channels == conv.out_channels
    groups = [sampling.offset_groups] if depthwise else [sampling.offset_groups, conv.groups]
    pixels = surrounding_pixels(forms, name, data, [sampling.channels // count for count in groups])
    lanes, taps = shape_of(pixels)[-1], sampling.window.taps
    operands = [forms.as_plain(move) for move in moves]
    if depthwise:
        weight = constant(pack_depthwise_weight(conv.weight.reshape(-1, 1, taps), lanes))
        tensors = [pixels, weight, *operands]
        return forms.call(deformable_depthwise, tensors, sampling=sampling), lanes
    block = _block(conv.out_channels, conv.out_channels // conv.groups, forms)
    kernels = conv.weight.reshape(conv.out_channels, -1, taps)
    # The weights of a tile stay in the second-level cache while the pixels of a band pass by.
    most = forms.core.l2_bytes // 2 // (kernels[0].size * block * FLOAT_BYTES)
    counts = tile_counts(-(-conv.out_channels // block) // conv.groups)
    tile = product_tile(
        sampling.pixels,
        [count for count in counts if count <= max(1, most)],
        forms.core,
        channels=kernels.shape[1],
        taps=taps,
        block=block,
        in_block=lanes,
    )
    tensors = [pixels, constant(pack_conv_weight(kernels, block, tile.blocks)), *operands]
    tiles = -(-sampling.pixels // tile.columns)
    tile_bytes = tile.columns * taps * prod(shape_of(pixels)[2:]) * FLOAT_BYTES
    tiles = round_up(tiles, band_count(tiles, tile_bytes, forms.core))
    options = {
        "sampling": sampling,
        "groups": conv.groups,
        "columns": tile.columns,
        "tiles": tiles,
    }
    return forms.call(deformable_blocked, tensors, **options), block


def _block(channels: int, group: int, forms: Forms) -> int:
    """Return the widest block that crosses no group of channels."""
    block = channel_block(channels, forms.core)
    return block if group == channels else gcd(group, block)


def surrounding_pixels(forms: Forms, name: str, data: relax.Var, groups: list[int]) -> relax.Expr:
    """Return the input with channels last, in blocks that cross no group of those sizes."""
    source = forms.as_blocked(data)
    channels = shape_of(data)[1]
    block = gcd(shape_of(source)[-1], *(group for group in groups if group != channels))
    call = forms.call(surrounded_pixels, [source], block)
    pixels = forms.builder.emit(call, f"{name}_pixels")
    forms.tables.families[pixels.name] = "pad"
    forms.tables.layers[pixels.name] = forms.tables.layers.get(name, ())
    return pixels
