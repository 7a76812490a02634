"""The ways to convolve on a GPU: on NCHW4c data throughout, whose borders the kernels pad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import gcd, prod

import tvm
from tvm import relax, te

from edgeconv.compiler.compute.conv import (
    conv_blocked,
    conv_grouped_lanes,
    conv_grouped_panels,
    conv_phases,
    depthwise_blocked,
    pointwise_blocked,
)
from edgeconv.compiler.passes.conv_call import Convolution, Transposed
from edgeconv.compiler.passes.layout.convolutions.weights import Pack, packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_conv_weight, pack_depthwise_weight
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import Tile, block_counts, choose_tile
from edgeconv.compiler.schedules.machine import round_up

BLOCK = GpuMachine.lanes
# Results of more phases do not stay in registers.
MAX_PHASES = 9
# Blocks of a panel, blocks that it reads, and channels of a group, at most: more do not stay in
# registers.
MAX_NARROW = 8


def depthwise(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take depthwise convolutions."""
    return _call(forms, name, conv, _depthwise(forms, conv)) if conv.is_depthwise else None


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
    if not _has_whole_groups(conv):
        return None
    batch = shape_of(conv.data)[0]
    return _call(forms, name, conv, _direct(forms, conv, _tile(forms, conv, batch, conv.size)))


def narrow(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take groups of few channels, of which some blocks hold a whole number."""
    ins, outs = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    if conv.groups == 1 or ins % BLOCK == outs % BLOCK == 0:
        return None
    blocks = outs // gcd(outs, BLOCK)
    blocks *= BLOCK // gcd(BLOCK * blocks // outs * ins, BLOCK)
    if max(blocks, BLOCK * blocks // outs * ins // BLOCK, ins) > MAX_NARROW:
        return None
    data = forms.as_blocked(conv.data)
    pack = partial(pack_conv_weight, block=BLOCK, tile=blocks)
    weight = packed_weight(forms, name, conv, pack)
    channels = {"out_channels": conv.out_channels, "outs": outs}
    return forms.call(conv_grouped_panels, [data, weight], conv.window, **channels), BLOCK


def grouped(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take any other groups, whose channels are found lane by lane."""
    return _call(forms, name, conv, _grouped(forms, conv))


def phases(forms: Forms, name: str, transposed: Transposed) -> tuple[tvm.ir.Call, int] | None:
    """Take transposed convolutions of few phases, all of which a work-item computes."""
    found = transposed.phases()
    if not 0 < len(found) <= MAX_PHASES:
        return None
    size = tuple(-(-o // s) for o, s in zip(transposed.size, transposed.stride, strict=True))
    offsets, convs = zip(*((offset, conv.resized(size)) for offset, conv in found), strict=True)
    if convs[0].is_depthwise:
        kernels = [_depthwise(forms, conv) for conv in convs]
    elif _has_whole_groups(convs[0]):
        widest = max(convs, key=_reach)
        batch = shape_of(transposed.data)[0]
        tile = _tile(forms, widest, batch, size, phases=len(convs))
        kernels = [_direct(forms, conv, tile) for conv in convs]
    else:
        kernels = [_grouped(forms, conv) for conv in convs]
    weights = [
        packed_weight(forms, name, conv, kernel.pack)
        for conv, kernel in zip(convs, kernels, strict=True)
    ]
    call = forms.call(
        conv_phases,
        [kernels[0].data, *weights],
        convolutions=[partial(kernel.compute, **kernel.options) for kernel in kernels],
        offsets=offsets,
        stride=transposed.stride,
        size=transposed.size,
    )
    return call, BLOCK


@dataclass(frozen=True)
class _Kernel:
    """How to compute a convolution: `compute(data, weight, **options)`, with packed weights."""

    compute: Callable[..., te.Tensor]
    data: relax.Expr
    pack: Pack
    options: dict[str, object]


def _call(forms: Forms, name: str, conv: Convolution, kernel: _Kernel) -> tuple[tvm.ir.Call, int]:
    weight = packed_weight(forms, name, conv, kernel.pack)
    return forms.call(kernel.compute, [kernel.data, weight], **kernel.options), BLOCK


def _depthwise(forms: Forms, conv: Convolution) -> _Kernel:
    pack = partial(pack_depthwise_weight, block=BLOCK)
    return _Kernel(depthwise_blocked, forms.as_blocked(conv.data), pack, {"window": conv.window})


def _has_whole_groups(conv: Convolution) -> bool:
    return conv.groups == 1 or conv.out_channels // conv.groups % BLOCK == 0


def _direct(forms: Forms, conv: Convolution, tile: Tile) -> _Kernel:
    data = _input(forms, conv)
    columns = round_up(conv.size[-1], tile.columns)
    pack = partial(pack_conv_weight, block=BLOCK, tile=tile.blocks, in_block=shape_of(data)[-1])
    options = {
        "window": conv.resized((*conv.size[:-1], columns)).window,
        "groups": conv.groups,
        "size": conv.size,
        "columns": columns,
        "pads": True,
    }
    return _Kernel(conv_blocked, data, pack, options)


def _grouped(forms: Forms, conv: Convolution) -> _Kernel:
    pack = partial(pack_conv_weight, block=BLOCK, tile=1)
    options = {
        "window": conv.window,
        "groups": conv.groups,
        "outs": conv.out_channels // conv.groups,
    }
    return _Kernel(conv_grouped_lanes, forms.as_blocked(conv.data), pack, options)


def _reach(conv: Convolution) -> tuple[int, int]:
    """Return the input columns of one output column, and how many more each further one takes."""
    window = conv.window
    return window.dilation[-1] * (window.kernel[-1] - 1) + 1, window.stride[-1]


def _tile(
    forms: Forms,
    conv: Convolution,
    batch: int,
    size: tuple[int, ...],
    *,
    whole: bool = False,
    phases: int = 1,
) -> Tile:
    blocks = -(-conv.out_channels // BLOCK)
    others = batch * blocks * prod(size[:-1])
    counts = block_counts(blocks // conv.groups)
    return choose_tile(
        size[-1], others, counts, _machine(forms), reach=_reach(conv), whole=whole, phases=phases
    )


def _machine(forms: Forms) -> GpuMachine:
    assert isinstance(forms.machine, GpuMachine)
    return forms.machine


def _input(forms: Forms, conv: Convolution) -> relax.Expr:
    """Return blocked input; few plain channels are read as blocks of one."""
    data = conv.data
    if data.name in forms.blocked or conv.in_channels >= BLOCK or conv.groups > 1:
        return forms.as_blocked(data)
    plain = forms.as_plain(data)
    return forms.builder.emit(
        relax.op.reshape(plain, (*shape_of(plain), 1)), f"{data.name}_unit_blocks"
    )
