"""Depthwise: one kernel per channel, on blocked data."""

from __future__ import annotations

import tvm

from edgeconv.compiler.compute.conv import depthwise_blocked
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_depthwise_weight
from edgeconv.compiler.passes.rewriting import shape_of


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take depthwise convolutions with constant weights."""
    if conv.weight is None or not conv.is_depthwise:
        return None
    data = forms.as_blocked(conv.data)
    block = shape_of(data)[-1]
    weight = constant(pack_depthwise_weight(conv.weight, block))
    return forms.call(depthwise_blocked, [data, weight], conv.window), block
