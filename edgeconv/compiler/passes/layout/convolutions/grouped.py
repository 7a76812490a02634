"""Grouped: groups narrower than a block, several of them side by side in its lanes."""

from __future__ import annotations

from functools import partial

import tvm

from edgeconv.compiler.compute.conv import conv_grouped
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import padded_input
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import channel_block, grouped_columns, round_up


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take groups that no block crosses, neither of the output nor of the input."""
    block = channel_block(conv.out_channels, forms.core)
    ins, outs = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    if outs >= block or block % outs:
        return None
    data = forms.as_blocked(conv.data)
    if shape_of(data)[-1] % (block // outs * ins):
        return None
    columns = round_up(
        conv.size[-1], grouped_columns(conv.size[-1], conv.window.kernel[-1], forms.core)
    )
    data = padded_input(forms, name, data, conv.window, columns)
    weight = packed_weight(forms, name, conv, partial(pack_conv_weight, block=block, tile=1))
    call = forms.call(
        conv_grouped,
        [data, weight],
        conv.window,
        outs=outs,
        size=conv.size,
        columns=columns,
    )
    return call, block
