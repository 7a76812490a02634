"""Dilated: 3x3 kernels that keep the size of the image, by Winograd over a mosaic of its phases."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import tvm

from edgeconv.compiler.compute.mosaic import image_of_mosaic, mosaic, mosaic_size
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions import winograd
from edgeconv.compiler.passes.layout.convolutions.operands import skips_in
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, MEMORY_BYTES_PER_SLOT
from edgeconv.compiler.schedules.winograd import direct_cost


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take images whose padding is the dilation, where the model says so."""
    window, size = conv.window, conv.size
    dilation = window.dilation
    same = window.pad_before == window.pad_after == dilation and window.stride == (1, 1)
    if len(size) != 2 or dilation == (1, 1) or not same or not winograd.fits(forms, conv):
        return None
    data = forms.as_blocked(conv.data)
    unit = replace(window, pad_before=(1, 1), pad_after=(1, 1), dilation=(1, 1))
    plain = replace(conv, window=unit, size=mosaic_size(size, dilation))
    layer = winograd.layer_of(forms, plain, shape_of(data))
    # Each channel of the mosaic is written and read once more, before and after.
    channels = conv.in_channels + conv.out_channels
    copied = 2 * shape_of(data)[0] * channels * prod(plain.size) * FLOAT_BYTES
    here = winograd.layer_of(forms, conv, shape_of(data))
    direct = direct_cost(here, forms.core, skips_in(data, conv))
    chosen = winograd.plan(forms, plain, layer, direct - copied / MEMORY_BYTES_PER_SLOT)
    if chosen is None:
        return None
    tables = forms.tables
    phases = forms.builder.emit(forms.call(mosaic, [data], dilation), f"{name}_mosaic")
    tables.families[phases.name] = "layout"
    call = winograd.transformed(forms, plain, phases, chosen)
    result = forms.builder.emit(call, f"{name}_phases")
    tables.families[result.name] = tables.families.get(name, conv.family)
    tables.macs[result.name] = tables.macs.pop(name, 0)
    for step in (phases, result):
        tables.layers[step.name] = tables.layers.get(name, ())
    return forms.call(image_of_mosaic, [result], size, dilation), layer.out_block
