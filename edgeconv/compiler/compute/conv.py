"""Convolutions as tensor expressions, over 1, 2 or 3 spatial axes.

Blocked activations are (N, ceil(C/block), *spatial, block), "NCHWc". Reductions run over the real
channels only, so that the padding lanes of a last partial block never reach a result. Dense
convolutions take input that is padded already, by a step of its own; depthwise ones, which move
little more than their input, pad inside the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te, tirx

from edgeconv.compiler.compute.layout import flat_index, interleave
from edgeconv.compiler.compute.skipping import SKIPS, Skip
from edgeconv.compiler.compute.window import Window, kernel_axes, padded, tap_positions


def conv_blocked(
    data: te.Tensor,
    weight: te.Tensor,
    window: Window,
    *,
    groups: int,
    size: Sequence[int],
    blocks: int = 0,
    columns: int = 0,
    pads: bool = False,
    run: int = 0,
    skips: Sequence[Skip] = (),
) -> te.Tensor:
    """Convolve NCHWc `data` with packed weights.

    Args:
        data: (N, ceil(IC/ib), *padded spatial, ib).
        weight: (ceil(OC/ob) / tile, *kernel, IC/groups, tile, ob), for tiles of that many blocks;
            where ib is 1, (ceil(OC/ob) / tile, IC, *kernel, tile, ob); with a `run`, (ceil(OC/ob) /
            tile, IC/groups/run, *kernel, run, tile, ob).
        window: the geometry; its padding has been applied already, unless the kernel `pads`.
        groups: 1, or a number for which ob divides OC/groups.
        size: output spatial shape.
        blocks: of the output's channels; 0 for those of all tiles.
        columns: extent of the last spatial axis while computing, a multiple of the register tile;
            `data` is wide enough for it, and the result is cropped to `size`. 0 for that of `size`.
        pads: whether `data` is not padded yet.
        run: channels that the schedule takes at a time; 0 for all.
        skips: one per spatial axis, where the schedule leaves taps out. Of the padding, `data` then
            has their margins alone; what lies beyond is not read.

    Returns:
        (N, ceil(OC/ob), *output spatial, ob), in the dtype of `data`.
    """
    batch, in_block = int(data.shape[0]), int(data.shape[-1])
    outer, *inner, tile, out_block = (int(s) for s in weight.shape)
    out_blocks = outer * tile
    blocks_per_group = out_blocks // groups
    source = padded(data, window, 2) if pads else data
    taps = kernel_axes(window)
    channels = inner[0] * run if run else inner[0 if in_block == 1 else -1]
    channel = te.reduce_axis((0, channels), name="ic")
    steps = [channel, *taps] if in_block == 1 else [*taps, channel]
    place = [channel // run, *taps, channel % run] if run else steps

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        spatial = tap_positions(window, axes, taps)
        if skips:
            places = zip(spatial, skips, strict=True)
            spatial = [place - skip.before + skip.margins[0] for place, skip in places]
        index = channel if groups == 1 else block // blocks_per_group * channels + channel
        return te.sum(
            source(n, index // in_block, *spatial, index % in_block)
            * weight(block // tile, *place, block % tile, lane),
            axis=steps,
        )

    computed = (*size[:-1], columns or size[-1])
    conv = te.compute((batch, out_blocks, *computed, out_block), element, name="conv")
    shape = (batch, blocks or out_blocks, *size, out_block)
    attributes = {SKIPS: [skip.encoded() for skip in skips]} if skips else {}
    return te.compute(shape, conv, name="crop", attrs=attributes)


def conv_grouped(
    data: te.Tensor,
    weight: te.Tensor,
    window: Window,
    *,
    outs: int,
    size: Sequence[int],
    columns: int,
) -> te.Tensor:
    """Convolve NCHWc `data` in groups of which a block of the output holds several.

    Args:
        data: (N, ceil(IC/ib), *padded spatial, ib).
        weight: (ceil(OC/ob), *kernel, IC/groups, 1, ob).
        window: the geometry; its padding has been applied already.
        outs: output channels of a group, a divisor of ob.
        size: output spatial shape.
        columns: as for `conv_blocked`.

    Returns:
        (N, ceil(OC/ob), *output spatial, ob), in the dtype of `data`.
    """
    batch, in_block = int(data.shape[0]), int(data.shape[-1])
    out_blocks, *_, channels, _, out_block = (int(s) for s in weight.shape)
    taps = kernel_axes(window)
    channel = te.reduce_axis((0, channels), name="ic")
    read = out_block // outs * channels

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        spatial = tap_positions(window, axes, taps)
        # In two parts, since the simplifier finds no multiples in (block * ob + lane) // outs.
        index = block * read + (lane // outs * channels + channel)
        return te.sum(
            data(n, index // in_block, *spatial, index % in_block)
            * weight(block, *taps, channel, 0, lane),
            axis=[channel, *taps],
        )

    conv = te.compute((batch, out_blocks, *size[:-1], columns, out_block), element, name="grouped")
    shape = (batch, out_blocks, *size, out_block)
    return te.compute(shape, conv, name="crop")


def conv_turning(
    data: te.Tensor, weight: te.Tensor, window: Window, *, size: Sequence[int], columns: int
) -> te.Tensor:
    """Convolve NCHWc `data` in groups of as many outputs as inputs, several in a block.

    Every lane takes the channels of its group in turn: first the one after its own, last its own.
    So no two lanes read the same channel in a step, and each reads it as many lanes further on.

    Args:
        data: (N, ceil(C/b), *padded spatial, b).
        weight: (ceil(C/b), C/groups, *kernel, b): for each step, by the lane that is read.
        window: the geometry; its padding has been applied already.
        size: output spatial shape.
        columns: as for `conv_blocked`.

    Returns:
        (N, ceil(C/b), *output spatial, b), in the dtype of `data`.
    """
    batch, in_block = int(data.shape[0]), int(data.shape[-1])
    blocks, channels, *_, lanes = (int(s) for s in weight.shape)
    taps = kernel_axes(window)
    step = te.reduce_axis((0, channels), name="step")

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        read = lane // channels * channels + (lane + step + 1) % channels
        index = block * lanes + read
        return te.sum(
            data(n, index // in_block, *tap_positions(window, axes, taps), index % in_block)
            * weight(block, step, *taps, read),
            axis=[step, *taps],
        )

    conv = te.compute((batch, blocks, *size[:-1], columns, lanes), element, name="turning")
    return te.compute((batch, blocks, *size, lanes), conv, name="crop")


def conv_grouped_lanes(
    data: te.Tensor, weight: te.Tensor, window: Window, *, groups: int, outs: int
) -> te.Tensor:
    """Convolve NCHWc `data` in groups that fit no block; every lane finds the channels of its own.

    Args:
        data: (N, ceil(IC/ib), *spatial, ib).
        weight: (ceil(OC/ob), *kernel, IC/groups, 1, ob).
        window: the geometry.
        groups: number of groups.
        outs: output channels of a group.

    Returns:
        (N, ceil(OC/ob), *output spatial, ob), in the dtype of `data`.
    """
    batch, _, *size, in_block = (int(s) for s in data.shape)
    out_blocks, *_, channels, _, out_block = (int(s) for s in weight.shape)
    source = padded(data, window, 2)
    taps = kernel_axes(window)
    channel = te.reduce_axis((0, channels), name="ic")

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        spatial = tap_positions(window, axes, taps)
        # Lanes beyond the last channel repeat the last group.
        group = tirx.min((block * out_block + lane) // outs, groups - 1)
        index = group * channels + channel
        return te.sum(
            source(n, index // in_block, *spatial, index % in_block)
            * weight(block, *taps, channel, 0, lane),
            axis=[*taps, channel],
        )

    shape = (batch, out_blocks, *window.output_size(size), out_block)
    return te.compute(shape, element, name="grouped_lanes")


def conv_grouped_panels(
    data: te.Tensor, weight: te.Tensor, window: Window, *, out_channels: int, outs: int
) -> te.Tensor:
    """Convolve NCHWc `data` in groups of which a panel, some blocks, holds a whole number.

    So which lane of a panel's input each of its outputs takes is the same in every panel.

    Args:
        data: (N, ceil(IC/b), *spatial, b).
        weight: (panels, *kernel, IC/groups, blocks, b), zeros beyond the last channel.
        window: the geometry; the kernel pads.
        out_channels: number of output channels.
        outs: output channels of a group, a divisor of blocks * b; the input channels of a panel
            are whole blocks.

    Returns:
        (N, ceil(OC/b), *output spatial, b), in the dtype of `data`.
    """
    batch, in_blocks, *size, lanes = (int(s) for s in data.shape)
    panels, *_, channels, blocks, _ = (int(s) for s in weight.shape)
    read = blocks * lanes // outs * channels // lanes
    out_size = window.output_size(size)
    taps = kernel_axes(window)
    channel = te.reduce_axis((0, channels), name="ic")
    edges = list(zip(size, window.pad_before, window.pad_after, strict=True))

    def surrounded(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        inside = [block < in_blocks] if panels * read > in_blocks else []
        for axis, (extent, before, after) in zip(axes, edges, strict=True):
            inside += [axis >= before] if before else []
            inside += [axis < before + extent] if after else []
        places = [axis - before for axis, (_, before, _) in zip(axes, edges, strict=True)]
        load = data(n, block, *places, lane)
        return (
            tirx.if_then_else(tirx.all(*inside), load, tirx.const(0, data.dtype))
            if inside
            else load
        )

    whole = [before + extent + after for extent, before, after in edges]
    source = te.compute((batch, panels * read, *whole, lanes), surrounded, name="pad")

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        # In parts, since the simplifier finds no multiples in (block * b + lane) // outs.
        index = (block % blocks * lanes + lane) // outs * channels + channel
        return te.sum(
            source(
                n,
                block // blocks * read + index // lanes,
                *tap_positions(window, axes, taps),
                index % lanes,
            )
            * weight(block // blocks, *taps, channel, block % blocks, lane),
            axis=[*taps, channel],
        )

    conv = te.compute((batch, panels * blocks, *out_size, lanes), element, name="grouped")
    return te.compute((batch, -(-out_channels // lanes), *out_size, lanes), conv, name="crop")


def pointwise_blocked(
    data: te.Tensor, weight: te.Tensor, size: Sequence[int], *, blocks: int = 0
) -> te.Tensor:
    """Mix the channels of NCHWc `data` at every pixel, all pixels in one row.

    Args:
        data: (N, ceil(IC/ib), pixels, ib), with prod(size) pixels.
        weight: (ceil(OC/ob) / tile, IC, tile, ob), for tiles of that many blocks.
        size: spatial shape of the output, and of the image that `data` is.
        blocks: as for `conv_blocked`.

    Returns:
        (N, ceil(OC/ob), *size, ob), in the dtype of `data`.
    """
    batch, _, pixels, in_block = (int(s) for s in data.shape)
    outer, channels, tile, out_block = (int(s) for s in weight.shape)
    channel = te.reduce_axis((0, channels), name="ic")

    def element(n: tirx.Var, block: tirx.Var, pixel: tirx.Var, lane: tirx.Var) -> tirx.PrimExpr:
        return te.sum(
            data(n, channel // in_block, pixel, channel % in_block)
            * weight(block // tile, channel, block % tile, lane),
            axis=channel,
        )

    row = te.compute((batch, outer * tile, pixels, out_block), element, name="pointwise")

    def unrolled(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        return row(n, block, flat_index(axes, size), lane)

    return te.compute((batch, blocks or outer * tile, *size, out_block), unrolled, name="image")


def pointwise_plain(data: te.Tensor, weight: te.Tensor, size: Sequence[int]) -> te.Tensor:
    """Mix the channels of plain `data` at every pixel, all pixels in one row.

    Args:
        data: (N, IC, pixels), with prod(size) pixels.
        weight: (OC / tile, IC, tile), for tiles of that many outputs.
        size: spatial shape of the output.

    Returns:
        (N, OC, *size), in the dtype of `data`.
    """
    batch, channels, pixels = (int(s) for s in data.shape)
    panels, _, tile = (int(s) for s in weight.shape)
    channel = te.reduce_axis((0, channels), name="ic")

    def element(n: tirx.Var, out: tirx.Var, pixel: tirx.Var) -> tirx.PrimExpr:
        return te.sum(
            data(n, channel, pixel) * weight(out // tile, channel, out % tile), axis=channel
        )

    row = te.compute((batch, panels * tile, pixels), element, name="pointwise_plain")

    def image(n: tirx.Var, out: tirx.Var, *axes: tirx.Var) -> tirx.PrimExpr:
        return row(n, out, flat_index(axes, size))

    return te.compute((batch, panels * tile, *size), image, name="image")


def temporal_blocked(
    data: te.Tensor, weight: te.Tensor, window: Window, size: Sequence[int], *, blocks: int = 0
) -> te.Tensor:
    """Convolve NCDHWc `data` along its first spatial axis, all pixels of a frame in one row.

    Args:
        data: (N, ceil(IC/ib), padded frames, pixels, ib), with as many pixels as the others of
            `size` have together.
        weight: (ceil(OC/ob) / tile, taps, IC, tile, ob), for tiles of that many blocks.
        window: the geometry, of which the first axis counts; its padding has been applied already.
        size: output spatial shape.
        blocks: as for `conv_blocked`.

    Returns:
        (N, ceil(OC/ob), *size, ob), in the dtype of `data`.
    """
    batch, _, _, pixels, in_block = (int(s) for s in data.shape)
    outer, taps, channels, tile, out_block = (int(s) for s in weight.shape)
    tap, channel = te.reduce_axis((0, taps), name="k0"), te.reduce_axis((0, channels), name="ic")

    def element(
        n: tirx.Var, block: tirx.Var, frame: tirx.Var, pixel: tirx.Var, lane: tirx.Var
    ) -> tirx.PrimExpr:
        source = frame * window.stride[0] + tap * window.dilation[0]
        return te.sum(
            data(n, channel // in_block, source, pixel, channel % in_block)
            * weight(block // tile, tap, channel, block % tile, lane),
            axis=[tap, channel],
        )

    shape = (batch, outer * tile, size[0], pixels, out_block)
    row = te.compute(shape, element, name="pointwise")

    def unrolled(n: tirx.Var, block: tirx.Var, frame: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        return row(n, block, frame, flat_index(axes, size[1:]), lane)

    return te.compute((batch, blocks or outer * tile, *size, out_block), unrolled, name="image")


def depthwise_blocked(data: te.Tensor, weight: te.Tensor, window: Window) -> te.Tensor:
    """Convolve every channel of NCHWc `data` with its own kernel.

    Args:
        data: (N, ceil(C/b), *spatial, b).
        weight: (ceil(C/b), *kernel, b).
        window: the geometry.

    Returns:
        (N, ceil(C/b), *output spatial, b).
    """
    batch, blocks, *size, block_size = (int(s) for s in data.shape)
    source = padded(data, window, 2)
    taps = kernel_axes(window)

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        return te.sum(
            source(n, block, *tap_positions(window, axes, taps), lane) * weight(block, *taps, lane),
            axis=taps,
        )

    shape = (batch, blocks, *window.output_size(size), block_size)
    return te.compute(shape, element, name="window")


def conv_phases(
    data: te.Tensor,
    *weights: te.Tensor,
    convolutions: Sequence[Callable[[te.Tensor, te.Tensor], te.Tensor]],
    offsets: Sequence[Sequence[int]],
    stride: Sequence[int],
    size: Sequence[int],
) -> te.Tensor:
    """Transposed convolution of NCHWc `data`: a dense convolution per phase, and all together.

    Args:
        data: (N, ceil(IC/ib), *spatial, ib).
        weights: one per phase, as its convolution takes them.
        convolutions: of (data, weight) to (N, ceil(OC/ob), *phase spatial, ob).
        offsets: the first output position of each phase.
        stride: from one output position of a phase to the next.
        size: output spatial shape.

    Returns:
        (N, ceil(OC/ob), *size, ob), in the dtype of `data`.
    """
    phases = [
        convolve(data, weight) for convolve, weight in zip(convolutions, weights, strict=True)
    ]
    return interleave(*phases, offsets, stride, size, name="phases")


def conv_plain(
    data: te.Tensor,
    weight: te.Tensor,
    window: Window,
    *,
    groups: int,
    size: Sequence[int],
    columns: int,
) -> te.Tensor:
    """Convolve plain (N, C, *spatial) data, for groups that no channel block fits.

    Args:
        data: (N, IC, *padded spatial).
        weight: (OC, IC/groups, *kernel).
        window: the geometry; its padding has been applied already.
        groups: any divisor of IC and OC.
        size: output spatial shape.
        columns: as for `conv_blocked`.

    Returns:
        (N, OC, *size).
    """
    batch = int(data.shape[0])
    out_channels, channels, *_ = (int(s) for s in weight.shape)
    per_group = out_channels // groups
    taps = kernel_axes(window)
    channel = te.reduce_axis((0, channels), name="ic")

    def element(n: tirx.Var, out: tirx.Var, *axes: tirx.Var) -> tirx.PrimExpr:
        index = out // per_group * channels + channel
        return te.sum(
            data(n, index, *tap_positions(window, axes, taps)) * weight(out, channel, *taps),
            axis=[channel, *taps],
        )

    conv = te.compute((batch, out_channels, *size[:-1], columns), element, name="conv_plain")
    # For the schedule: how many outputs read the same inputs, and how far apart columns do.
    attributes = {
        "outs": tirx.IntImm("int32", per_group),
        "stride": tirx.IntImm("int32", window.stride[-1]),
    }
    return te.compute((batch, out_channels, *size), conv, name="crop", attrs=attributes)
