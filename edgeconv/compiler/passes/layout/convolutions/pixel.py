"""Transposed convolution of a single pixel, as a decoder begins: the kernels, mixed."""

from __future__ import annotations

from math import prod

from tvm import relax

from edgeconv.compiler.passes.conv_call import Transposed
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.layout.matmul import constant_product
from edgeconv.compiler.passes.packing import pack_channels
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.machine import channel_block


def spread(forms: Forms, name: str, transposed: Transposed) -> tuple[relax.Expr, int] | None:
    """Return the blocked result and its block, where every output is one tap of the one pixel.

    None for anything else. As a convolution, each output would multiply zeros by all other taps.
    """
    batch, channels, *size = shape_of(transposed.data)
    _, outs, *kernel = transposed.weight.shape
    whole = transposed.size == tuple(kernel) and not any(transposed.pad_before)
    plain = prod(size) == transposed.groups == prod(transposed.dilation) == 1
    if not (whole and plain):
        return None
    block = channel_block(outs, forms.machine)
    weight = pack_channels(transposed.weight, block)
    pixel = forms.builder.emit(relax.op.reshape(forms.as_plain(transposed.data), (batch, channels)))
    call = constant_product(forms, pixel, weight.reshape(channels, -1))
    product = forms.builder.emit(call, f"{name}_pixel")
    forms.tables.layers[product.name] = forms.tables.layers.get(name, ())
    forms.tables.families[product.name] = "transposed"
    return relax.op.reshape(product, (batch, *weight.shape[1:])), block
