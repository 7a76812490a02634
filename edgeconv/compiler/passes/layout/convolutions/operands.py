"""What the ways to convolve ask of their input and of the register tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from tvm import relax

from edgeconv.compiler.compute.layout import pad_spatial
from edgeconv.compiler.compute.skipping import Skip, skips_of
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
from edgeconv.compiler.schedules.skipping import skipping_tile


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


def choose_skips(
    forms: Forms, conv: Convolution, data: relax.Expr
) -> tuple[RegisterTile, list[Skip]] | None:
    """Return the tile and the axes of a convolution that leaves taps out; None where few are."""
    block = conv.out_block(forms.core)
    *rows, columns = skips_in(data, conv)
    tile = skipping_tile(
        [*rows, columns],
        _counts(conv, block),
        forms.core,
        block=block,
        in_block=shape_of(data)[-1],
        depth=prod(conv.weight_shape[1:]),
    )
    return None if tile is None else (tile, [*rows, replace(columns, run=tile.columns)])


def skips_in(data: relax.Expr, conv: Convolution) -> list[Skip]:
    """Return the axes of a convolution of blocked `data`."""
    return skips_of(conv.window, shape_of(data)[2:-1], conv.size)


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
    forms: Forms, conv: Convolution, in_block: int, pixels: int
) -> tuple[int, RegisterTile]:
    """Return the output's block and the register tile for a row of all `pixels`."""
    block = conv.out_block(forms.core)
    tile = pixel_tile(pixels, _counts(conv, block), forms.core, block=block, in_block=in_block)
    return block, tile


def _counts(conv: Convolution, block: int) -> list[int]:
    """Return the numbers of blocks that a register tile of one group can have."""
    blocks = -(-conv.out_channels // block)
    return tile_counts(blocks // conv.groups, padded=conv.groups == 1)


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
    sides = list(zip(window.pad_before, after, strict=True))
    zeros = list(zip(window.pad_before, window.pad_after, strict=True))
    return _padded(forms, name, data, sides, zeros)


def margined_input(forms: Forms, name: str, data: relax.Expr, skips: Sequence[Skip]) -> relax.Expr:
    """Pad blocked `data` as far as taps reach that are not skipped."""
    margins = [skip.margins for skip in skips]
    return _padded(forms, name, data, margins, margins)


def _padded(
    forms: Forms,
    name: str,
    data: relax.Expr,
    sides: Sequence[tuple[int, int]],
    zeros: Sequence[tuple[int, int]],
) -> relax.Expr:
    """Put room around `data`; of that on both `sides`, what is next to it must be `zeros`."""
    if not any(map(any, sides)):
        return data
    call = forms.call(pad_spatial, [data], *zip(*sides, strict=True), name=padding.ANCHOR)
    padded = forms.builder.emit(call, f"{name}_pad")
    lanes = [(0, 0)] * (len(shape_of(data)) - 2 - len(sides))
    forms.tables.paddings[padded.name] = ((0, 0), (0, 0), *zeros, *lanes)
    forms.tables.families[padded.name] = "pad"
    forms.tables.layers[padded.name] = forms.tables.layers.get(name, ())
    return padded
