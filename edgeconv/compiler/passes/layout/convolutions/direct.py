"""Direct: dense or grouped, on blocked data padded by a step of its own."""

from __future__ import annotations

import tvm

from edgeconv.compiler.compute.conv import conv_blocked
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import (
    blocked_input,
    choose_tile,
    padded_input,
)
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.schedules.machine import round_up


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take constant weights whose groups consist of whole blocks."""
    if conv.weight is None or not conv.fits_blocks(forms.machine):
        return None
    data = blocked_input(forms, conv)
    block, tile = choose_tile(forms, conv, data, conv.size[-1])
    columns = round_up(conv.size[-1], tile.columns)
    data = padded_input(forms, name, data, conv.window, columns)
    weight = constant(pack_conv_weight(conv.weight, block, tile.blocks))
    call = forms.call(
        conv_blocked,
        [data, weight],
        conv.window,
        groups=conv.groups,
        size=conv.size,
        columns=columns,
    )
    return call, block
