"""Depthwise: one kernel per channel, on blocked data."""

from __future__ import annotations

from functools import partial

import tvm

from edgeconv.compiler.compute.conv import depthwise_blocked
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_depthwise_weight
from edgeconv.compiler.passes.rewriting import shape_of


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take depthwise convolutions."""
    if not conv.is_depthwise:
        return None
    data = forms.as_blocked(conv.data)
    block = shape_of(data)[-1]
    weight = packed_weight(forms, name, conv, partial(pack_depthwise_weight, block=block))
    return forms.call(depthwise_blocked, [data, weight], conv.window), block
