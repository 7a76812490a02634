"""Grouped: groups narrower than a block, several of them side by side in its lanes."""

from __future__ import annotations

from functools import partial

import tvm

from edgeconv.compiler.compute.conv import conv_grouped, conv_turning
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import padded_input
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight, pack_turning_weight
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import (
    channel_block,
    grouped_columns,
    round_up,
    turning_columns,
)


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take groups that no block crosses, neither of the output nor of the input."""
    block = channel_block(conv.out_channels, forms.core)
    ins, outs = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    if outs >= block or block % outs:
        return None
    data = forms.as_blocked(conv.data)
    if shape_of(data)[-1] % (block // outs * ins):
        return None
    turns = ins == outs and conv.window.taps > 1 and forms.core.shuffles_delay
    choose = turning_columns if turns else grouped_columns
    columns = round_up(conv.size[-1], choose(conv.size[-1], conv.window.kernel[-1], forms.core))
    data = padded_input(forms, name, data, conv.window, columns)
    sizes = {"size": conv.size, "columns": columns}
    if turns:
        weight = packed_weight(forms, name, conv, partial(pack_turning_weight, block=block))
        return forms.call(conv_turning, [data, weight], conv.window, **sizes), block
    weight = packed_weight(forms, name, conv, partial(pack_conv_weight, block=block, tile=1))
    return forms.call(conv_grouped, [data, weight], conv.window, outs=outs, **sizes), block
