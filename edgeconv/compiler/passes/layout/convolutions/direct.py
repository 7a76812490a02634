"""Direct: dense or grouped, on blocked data that a step of its own has padded."""

from __future__ import annotations

from functools import partial

import tvm

from edgeconv.compiler.compute.conv import conv_blocked
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.convolutions.operands import (
    blocked_input,
    choose_image_tile,
    choose_skips,
    margined_input,
    padded_input,
)
from edgeconv.compiler.passes.layout.convolutions.weights import packed_weight
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import pack_conv_weight
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.cpu.runs import channel_run
from edgeconv.compiler.schedules.machine import MIN_BLOCK, round_up


def lower(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int] | None:
    """Take groups that consist of whole blocks."""
    if conv.out_block(forms.core) < MIN_BLOCK:
        return None
    data = blocked_input(forms, conv)
    block, tile = choose_image_tile(forms, conv, data)
    skipping = choose_skips(forms, conv, data)
    tile, skips = skipping or (tile, [])
    columns = round_up(conv.size[-1], tile.columns)
    if skips:
        data = margined_input(forms, name, data, skips)
    else:
        data = padded_input(forms, name, data, conv.window, columns)
    in_block = shape_of(data)[-1]
    channels, *kernel = conv.weight_shape[1:]
    run = channel_run(
        conv.size,
        kernel,
        channels,
        tile,
        forms.core,
        block=block,
        in_block=in_block,
        panels=-(-conv.weight_shape[0] // (block * tile.blocks)),
        batch=shape_of(data)[0],
        skips=bool(skips),
    )
    pack = partial(pack_conv_weight, block=block, tile=tile.blocks, in_block=in_block, run=run)
    weight = packed_weight(forms, name, conv, pack)
    call = forms.call(
        conv_blocked,
        [data, weight],
        conv.window,
        groups=conv.groups,
        size=conv.size,
        blocks=-(-conv.out_channels // block),
        columns=columns,
        run=run,
        skips=skips,
    )
    return call, block
