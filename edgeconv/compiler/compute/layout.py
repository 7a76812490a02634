"""Layout changes between plain and blocked tensors, as tensor expressions."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx


def block_channels(data: te.Tensor, block: int) -> te.Tensor:
    """(N, C, *spatial) to (N, ceil(C/block), *spatial, block); lanes beyond C are zero."""
    batch, channels, *size = (int(s) for s in data.shape)
    blocks = -(-channels // block)

    def element(n: tirx.Var, outer: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        channel = outer * block + lane
        if channels % block == 0:
            return data(n, channel, *axes)
        zero = tirx.const(0, data.dtype)
        return tirx.if_then_else(channel < channels, data(n, channel, *axes), zero)

    return te.compute((batch, blocks, *size, block), element, name="to_blocked")


def unblock_channels(data: te.Tensor, channels: int) -> te.Tensor:
    """(N, ceil(C/block), *spatial, block) to (N, C, *spatial)."""
    batch, _, *size, block = (int(s) for s in data.shape)
    return te.compute(
        (batch, channels, *size),
        lambda n, c, *axes: data(n, c // block, *axes, c % block),
        name="to_plain",
    )


def pad_spatial(
    data: te.Tensor,
    before: Sequence[int],
    after: Sequence[int],
    *,
    first: int = 2,
    fill: float = 0.0,
    name: str = "pad",
) -> te.Tensor:
    """Surround the spatial axes, which start at axis `first`, with `fill`; name the block."""
    last = first + len(before)
    size = [int(s) for s in data.shape[first:last]]
    padded = [s + b + a for s, b, a in zip(size, before, after, strict=True)]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        spatial = [i - b for i, b in zip(index[first:last], before, strict=True)]
        inside = tirx.all(
            *(
                condition
                for i, s, b, a in zip(spatial, size, before, after, strict=True)
                for condition in ((i >= 0,) if b else ()) + ((i < s,) if a else ())
            )
        )
        load = data(*index[:first], *spatial, *index[last:])
        return tirx.if_then_else(inside, load, tirx.const(fill, data.dtype))

    return te.compute([*data.shape[:first], *padded, *data.shape[last:]], element, name=name)


def copy(data: te.Tensor) -> te.Tensor:
    """The same tensor in memory of its own."""
    return te.compute(data.shape, data, name="copy")
