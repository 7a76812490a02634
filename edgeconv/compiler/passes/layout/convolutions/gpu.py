"""The ways to convolve on a GPU: on NCHW4c data throughout, whose borders the kernels pad."""

from __future__ import annotations

from functools import partial

import tvm
from tvm import relax

from edgeconv.compiler.compute.conv import (
    conv_blocked,
    conv_grouped_lanes,
    depthwise_blocked,
)
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight, pack_depthwise_weight
from edgeconv.compiler.passes.rewriting import shape_of, substitute
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

BLOCK = GpuMachine.lanes


def deformable(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Emit the sampled columns, which another way multiplies."""
    if conv.data.name in forms.samplings:
        _, call = forms.samplings[conv.data.name]
        forms.tables.families[name] = "deformable"
        forms.emit(conv.data, substitute(call, forms.as_plain))
    return None


def depthwise(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take depthwise convolutions."""
    if not conv.is_depthwise:
        return None
    data = forms.as_blocked(conv.data)
    weight = packed_weight(forms, name, conv, partial(pack_depthwise_weight, block=BLOCK))
    return forms.call(depthwise_blocked, [data, weight], conv.window), BLOCK


def direct(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take groups that consist of whole blocks."""
    if conv.groups > 1 and conv.out_channels // conv.groups % BLOCK:
        return None
    data = _input(forms, conv)
    pack = partial(pack_conv_weight, block=BLOCK, tile=1, in_block=shape_of(data)[-1])
    weight = packed_weight(forms, name, conv, pack)
    call = forms.call(
        conv_blocked,
        [data, weight],
        conv.window,
        groups=conv.groups,
        size=conv.size,
        pads=True,
    )
    return call, BLOCK


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
