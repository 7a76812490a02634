"""Deformable on a GPU: pixels in vectors of channels that cross no group, padded where need be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

import tvm
from tvm import relax

from edgeconv.compiler.compute.deformable import (
    Sampling,
    deformable_blocked,
    deformable_depthwise,
    surrounded_pixels,
)
from edgeconv.compiler.compute.layout import block_channels, unblock_channels
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import (
    Array,
    pack_conv_weight,
    pack_depthwise_weight,
    pad_axis,
)
from edgeconv.compiler.passes.rewriting import shape_of, substitute
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import block_counts, choose_tile
from edgeconv.compiler.schedules.machine import round_up

BLOCK = GpuMachine.lanes
# Where padding groups to whole blocks makes so many times the products, columns are written out.
MAX_PADDING = 4


@dataclass(frozen=True)
class _Columns:
    """Columns that are sampled from `data` where `moves` (offsets and perhaps a mask) say."""

    sampling: Sampling
    data: relax.Var
    moves: list[relax.Expr]


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take products of sampled columns with constant weights; emit the columns of others."""
    if conv.data.name not in forms.samplings:
        return None
    sampling, call = forms.samplings[conv.data.name]
    forms.tables.families[name] = "deformable"
    data, *moves = call.args[1].fields
    columns = _Columns(sampling, data, [forms.as_plain(move) for move in moves])
    if conv.weight is not None and 1 < conv.groups == sampling.channels == conv.out_channels:
        result, parts = _depthwise(forms, name, conv.weight, columns)
    elif conv.weight is not None and not _pads_much(conv, sampling):
        result, parts = _product(forms, name, conv, columns)
    else:
        forms.emit(conv.data, substitute(call, forms.as_plain))
        return None
    if parts == 1 or conv.out_channels // parts % BLOCK == 0:
        return result, BLOCK
    return _without_padding(forms, name, result, conv.out_channels, parts), 0


def _alike(conv: Convolution, sampling: Sampling) -> int:
    """Return how many channels in a row are moved alike and meet the same kernels."""
    return gcd(sampling.channels // conv.groups, sampling.channels // sampling.offset_groups)


def _pads_much(conv: Convolution, sampling: Sampling) -> bool:
    alike, outs = _alike(conv, sampling), conv.out_channels // conv.groups
    padded = round_up(alike, BLOCK) * round_up(outs, BLOCK)
    return conv.groups > 1 and padded > MAX_PADDING * alike * outs


def _product(
    forms: Forms, name: str, conv: Convolution, columns: _Columns
) -> tuple[tvm.ir.Call, int]:
    """Return blocked products, and in how many parts, each padded to whole blocks."""
    assert conv.weight is not None
    sampling, groups = columns.sampling, conv.groups
    alike, outs = _alike(conv, sampling), conv.out_channels // groups
    blocks = groups * round_up(outs, BLOCK) // BLOCK
    pixels = _pixels(forms, name, columns.data, alike)
    tile = choose_tile(
        sampling.pixels,
        shape_of(pixels)[0] * blocks,
        block_counts(blocks // groups),
        _machine(forms),
    )
    kernels = conv.weight.reshape(groups, outs, -1, alike, sampling.window.taps)
    packed = constant(pack_conv_weight(_in_blocks(kernels), BLOCK, tile.blocks))
    call = forms.call(
        deformable_blocked,
        [pixels, packed, *columns.moves],
        sampling=_padded(sampling, alike),
        groups=groups,
        columns=tile.columns,
        tiles=-(-sampling.pixels // tile.columns),
    )
    return call, groups


def _depthwise(
    forms: Forms, name: str, weight: Array, columns: _Columns
) -> tuple[tvm.ir.Call, int]:
    """Return blocked sums, and in how many parts, each padded to whole blocks."""
    sampling, parts = columns.sampling, columns.sampling.offset_groups
    alike = sampling.channels // parts
    pixels = _pixels(forms, name, columns.data, alike)
    kernels = pad_axis(weight.reshape(parts, alike, sampling.window.taps), 1, BLOCK)
    packed = pack_depthwise_weight(kernels.reshape(-1, 1, sampling.window.taps), BLOCK)
    tensors = [pixels, constant(packed), *columns.moves]
    return forms.call(deformable_depthwise, tensors, sampling=_padded(sampling, alike)), parts


def _padded(sampling: Sampling, alike: int) -> Sampling:
    """Return the sampling of an input in which every `alike` channels are whole blocks."""
    return replace(sampling, channels=sampling.channels // alike * round_up(alike, BLOCK))


def _without_padding(
    forms: Forms, name: str, result: tvm.ir.Call, channels: int, parts: int
) -> tvm.ir.Call:
    """Return the plain result, of so many `channels`, of `parts` padded to whole blocks."""
    tables = forms.tables
    padded = forms.builder.emit(result, f"{name}_groups")
    tables.families[padded.name] = "deformable"
    tables.layers[padded.name] = tables.layers.get(name, ())
    tables.macs[padded.name] = tables.macs.pop(name, 0)
    batch, blocks, *size, _ = shape_of(padded)
    apart = (batch * parts, blocks // parts, *size, BLOCK)
    row = forms.builder.emit(relax.op.reshape(padded, apart))
    call = forms.call(unblock_channels, [row], channels // parts)
    plain = forms.builder.emit(call, f"{name}_plain")
    tables.families[plain.name] = "layout"
    tables.views.add(plain.name)
    return relax.op.reshape(plain, (batch, channels, *size))


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
