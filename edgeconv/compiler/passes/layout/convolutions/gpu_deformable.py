"""Deformable on a GPU: pixels in vectors of channels that cross no group, padded where need be."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import tvm
from tvm import relax

from edgeconv.compiler.compute.deformable import deformable_blocked, surrounded_pixels
from edgeconv.compiler.compute.layout import block_channels, unblock_channels
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_conv_weight, pad_axis
from edgeconv.compiler.passes.rewriting import shape_of, substitute
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import block_counts, choose_tile
from edgeconv.compiler.schedules.machine import round_up

BLOCK = GpuMachine.lanes
# Where padding groups to whole blocks makes so many times the products, columns are written out.
MAX_PADDING = 4


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take products of sampled columns with constant weights; emit the columns of others."""
    if conv.data.name not in forms.samplings:
        return None
    sampling, call = forms.samplings[conv.data.name]
    tables, groups = forms.tables, conv.groups
    tables.families[name] = "deformable"
    ins, outs = sampling.channels // groups, conv.out_channels // groups
    # Channels in a row that are moved alike and meet the same kernels.
    alike = gcd(ins, sampling.channels // sampling.offset_groups)
    wide, out = round_up(alike, BLOCK), round_up(outs, BLOCK)
    if conv.weight is None or (groups > 1 and wide * out > MAX_PADDING * alike * outs):
        forms.emit(conv.data, substitute(call, forms.as_plain))
        return None
    data, *moves = call.args[1].fields
    pixels = _pixels(forms, name, data, alike)
    batch = shape_of(pixels)[0]
    blocks = groups * out // BLOCK
    tile = choose_tile(
        sampling.pixels, batch * blocks, block_counts(blocks // groups), _machine(forms)
    )
    kernels = conv.weight.reshape(groups, outs, ins // alike, alike, sampling.window.taps)
    weight = constant(pack_conv_weight(_in_blocks(kernels), BLOCK, tile.blocks))
    result = forms.call(
        deformable_blocked,
        [pixels, weight, *map(forms.as_plain, moves)],
        sampling=replace(sampling, channels=sampling.channels // alike * wide),
        groups=groups,
        columns=tile.columns,
        tiles=-(-sampling.pixels // tile.columns),
    )
    if groups == 1 or out == outs:
        return result, BLOCK
    padded = forms.builder.emit(result, f"{name}_groups")
    tables.families[padded.name] = "deformable"
    tables.layers[padded.name] = tables.layers.get(name, ())
    tables.macs[padded.name] = tables.macs.pop(name, 0)
    apart = (batch * groups, out // BLOCK, *sampling.size, BLOCK)
    row = forms.builder.emit(relax.op.reshape(padded, apart))
    plain = forms.builder.emit(forms.call(unblock_channels, [row], outs), f"{name}_plain")
    tables.families[plain.name] = "layout"
    tables.views.add(plain.name)
    return relax.op.reshape(plain, (batch, conv.out_channels, *sampling.size)), 0


def _pixels(forms: Forms, name: str, data: relax.Var, alike: int) -> relax.Expr:
    """Return the input as `surrounded_pixels` do, every `alike` channels in blocks of their own."""
    tables = forms.tables
    batch, channels, *size = shape_of(data)
    if alike in (channels, round_up(alike, BLOCK)):
        source = forms.as_blocked(data)
    else:
        parts = batch * channels // alike
        row = forms.builder.emit(relax.op.reshape(forms.as_plain(data), (parts, alike, *size)))
        apart = forms.builder.emit(forms.call(block_channels, [row], BLOCK), f"{name}_apart")
        tables.families[apart.name] = "layout"
        tables.views.add(apart.name)
        blocks = parts // batch * shape_of(apart)[1]
        source = forms.builder.emit(relax.op.reshape(apart, (batch, blocks, *size, BLOCK)))
    call = forms.call(surrounded_pixels, [source], BLOCK)
    pixels = forms.builder.emit(call, f"{name}_pixels")
    tables.families[pixels.name] = "pad"
    tables.layers[pixels.name] = tables.layers.get(name, ())
    return pixels


def _in_blocks(kernels: Array) -> Array:
    """Pad (groups, OC/groups, parts, alike, taps) to whole blocks; return (OC, IC/groups, taps)."""
    groups, _, parts, _, taps = kernels.shape
    padded = pad_axis(pad_axis(kernels, 1, BLOCK), 3, BLOCK)
    whole: Array = padded.reshape(groups * padded.shape[1], parts * padded.shape[3], taps)
    return whole


def _machine(forms: Forms) -> GpuMachine:
    assert isinstance(forms.machine, GpuMachine)
    return forms.machine
