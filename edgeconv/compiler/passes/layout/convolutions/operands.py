"""What the ways to convolve ask of their input and of the register tile."""

from __future__ import annotations

from math import prod

from tvm import relax

from edgeconv.compiler.compute.layout import pad_spatial
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.cpu import padding
from edgeconv.compiler.schedules.machine import (
    RegisterTile,
    image_tile,
    pixel_tile,
    register_tile,
    tile_counts,
)


def choose_image_tile(
    forms: Forms, conv: Convolution, data: relax.Expr
) -> tuple[int, RegisterTile]:
    """Return the output's block and the register tile for rows of an image."""
    block = conv.out_block(forms.core)
    tile = image_tile(
        conv.size,
        _counts(conv, block),
        forms.core,
        block=block,
        in_block=shape_of(data)[-1],
        depth=prod(conv.weight_shape[1:]),
    )
    return block, tile


def choose_tile(
    forms: Forms, conv: Convolution, data: relax.Expr, width: int
) -> tuple[int, RegisterTile]:
    """Return the output's block and the register tile for rows of `width` columns."""
    block = conv.out_block(forms.core)
    tile = register_tile(
        width,
        _counts(conv, block),
        forms.core,
        block=block,
        in_block=shape_of(data)[-1],
    )
    return block, tile


def choose_pixel_tile(
    forms: Forms, conv: Convolution, data: relax.Expr
) -> tuple[int, RegisterTile]:
    """Return the output's block and the register tile for all pixels in one row."""
    block = conv.out_block(forms.core)
    tile = pixel_tile(
        prod(conv.size),
        _counts(conv, block),
        forms.core,
        block=block,
        in_block=shape_of(data)[-1],
    )
    return block, tile


def _counts(conv: Convolution, block: int) -> list[int]:
    """Return the numbers of blocks that a register tile of one group can have."""
    return tile_counts(-(-conv.out_channels // block) // conv.groups)


def blocked_input(forms: Forms, conv: Convolution) -> relax.Expr:
    """Return blocked input; few plain channels are read as blocks of one."""
    data = conv.data
    few = conv.in_channels < forms.core.lanes and conv.groups == 1
    if data.name in forms.blocked or not few:
        return forms.as_blocked(data)
    plain = forms.plain[data.name]
    return forms.builder.emit(
        relax.op.reshape(plain, (*shape_of(plain), 1)), f"{data.name}_unit_blocks"
    )


def padded_input(
    forms: Forms, name: str, data: relax.Expr, window: Window, columns: int
) -> relax.Expr:
    """Pad `data` as the window asks, and to the right as far as `columns` outputs read."""
    rank = len(window.kernel)
    width = shape_of(data)[1 + rank]
    reach = (columns - 1) * window.stride[-1] + window.dilation[-1] * (window.kernel[-1] - 1)
    right = max(window.pad_after[-1], reach + 1 - width - window.pad_before[-1])
    after = (*window.pad_after[:-1], right)
    if not any(window.pad_before) and not any(after):
        return data
    call = forms.call(pad_spatial, [data], window.pad_before, after, name=padding.ANCHOR)
    padded = forms.builder.emit(call, f"{name}_pad")
    sides = zip(window.pad_before, window.pad_after, strict=True)
    lanes = [(0, 0)] * (len(shape_of(data)) - 2 - rank)
    forms.tables.paddings[padded.name] = ((0, 0), (0, 0), *sides, *lanes)
    forms.tables.families[padded.name] = "pad"
    forms.tables.layers[padded.name] = forms.tables.layers.get(name, ())
    return padded
