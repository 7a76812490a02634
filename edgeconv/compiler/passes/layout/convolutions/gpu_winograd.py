"""Winograd's algorithm on a GPU: three kernels, whose tiles go through memory between them.

That is faster, but moves more bytes than a network needs. So the layers that gain most for it come
first, until the network's traffic is as large as it may be.
"""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.toom_cook import amplification
from edgeconv.compiler.compute.winograd import winograd_input, winograd_output, winograd_products
from edgeconv.compiler.passes.conv_call import CONVOLUTIONS, Convolution, read_conv
from edgeconv.compiler.passes.layout.convolutions import winograd
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import op_name, shape_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.winograd_choice import (
    Offer,
    WinogradPlan,
    choose,
    offer,
    within,
)


def plans(forms: Forms, traffic: float) -> dict[str, WinogradPlan]:
    """Return how to cut images into tiles, by the convolutions' names.

    Args:
        forms: the network, none of which is laid out yet.
        traffic: bytes that kernels may move, as times of what the convolutions have to.
    """
    offers: dict[str, Offer] = {}
    needed = 0
    for name, value in forms.definitions.items():
        if op_name(value) in CONVOLUTIONS:
            conv = read_conv(value, shape_of(value))
            operands = shape_of(conv.data), conv.weight_shape, shape_of(value)
            needed += sum(map(prod, operands)) * forms.stored_bytes
            found = _offer(forms, name, conv)
            offers |= {} if found is None else {name: found}
    return within(offers, (traffic - 1) * needed)


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take the 3x3 kernels that have a plan.

    Transformed tiles of 4x4 stay in single precision, with the weights that they are multiplied by:
    the transform back amplifies the rounding to half beyond what `exporter.tolerance` gives a
    layer, and what they hold is up to 26 times as large as the image. Those of 2x2 are stored and
    multiplied in halves where products are.
    """
    plan = forms.tiled.get(name)
    if plan is None:
        return None
    tables = forms.tables
    geometry = {"size": conv.size, "tiling": plan.tiling}
    weight = winograd.packed_weight(forms, conv, plan.tiling, plan.tile.blocks)

    def emit(call: tvm.ir.Call, what: str) -> relax.Var:
        step = forms.builder.emit(call, f"{name}_{what}")
        tables.families[step.name] = "winograd"
        tables.layers[step.name] = tables.layers.get(name, ())
        if not plan.in_half:
            tables.singles.add(step.name)
        return step

    data = forms.as_blocked(conv.data)
    panels = emit(forms.call(winograd_input, [data], conv.window, **geometry), "tiles")
    products = emit(forms.call(winograd_products, [panels, weight], groups=conv.groups), "products")
    tables.macs[products.name] = tables.macs.pop(name, 0)
    if plan.in_half:
        tables.amplifications[products.name] = amplification(conv.constant, plan.tiling.m)
    blocks = -(-conv.out_channels // GpuMachine.lanes)
    return forms.call(winograd_output, [products], **geometry, blocks=blocks), GpuMachine.lanes


def _offer(forms: Forms, name: str, conv: Convolution) -> Offer | None:
    """Return what tiles would bring; None where they are no faster, or err too much."""
    unit = (1,) * 2
    window, machine = conv.window, forms.machine
    assert isinstance(machine, GpuMachine)
    if window.stride[-2:] != unit or window.dilation[-2:] != unit or not winograd.fits(forms, conv):
        return None
    batch, channels, *size = shape_of(conv.data)
    blocked = (batch, -(-channels // machine.lanes), *size, machine.lanes)
    layer = winograd.layer_of(forms, conv, blocked)
    sizes = winograd.permitted_sizes(conv, layer)
    in_half = not forms.in_half.isdisjoint(forms.tables.layers.get(name, ()))
    plan = choose(layer, sizes, machine, forms.stored_bytes, in_half=in_half)
    if plan is None:
        return None
    return offer(layer, plan, machine, forms.stored_bytes, in_half=in_half)
