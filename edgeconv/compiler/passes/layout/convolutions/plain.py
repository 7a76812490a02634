"""Plain layout, for groups that no block fits."""

from __future__ import annotations

import tvm

from edgeconv.compiler.compute.conv import conv_plain
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import padded_input
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.schedules.machine import round_up


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take any convolution."""
    columns = round_up(conv.size[-1], forms.core.lanes)
    data = padded_input(forms, name, forms.as_plain(conv.data), conv.window, columns)
    weight = forms.as_plain(conv.weight_expression)
    call = forms.call(
        conv_plain,
        [data, weight],
        conv.window,
        groups=conv.groups,
        size=conv.size,
        columns=columns,
    )
    return call, 0
