"""The border of a padded tensor whose inside is written in place."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

# Filling fewer elements takes less time than to hand parts of them to other threads.
MIN_PARALLEL_BORDER = 16384


def fill_border(
    shape: Sequence[int],
    before: Sequence[int],
    size: Sequence[int],
    after: Sequence[int],
    dtype: str,
) -> te.Tensor:
    """Put zeros around the box of `size` that begins at `before`, and leave alone what is in it.

    What lies farther than `after` behind the box is left alone as well. The first two axes, and the
    last one where that is a block, have no border.
    """
    ends = [(b, b + s, b + s + a) for b, s, a in zip(before, size, after, strict=True)]
    border = prod(end for _, _, end in ends) - prod(size)

    def statements(ins: Any, outs: Any) -> Any:
        buffer = T.buffer_proxy(outs[0])
        outermost = T.parallel if border >= MIN_PARALLEL_BORDER else T.serial
        with IRBuilder() as builder:
            with outermost(0, shape[0] * shape[1]) as image:
                start = [image // shape[1], image % shape[1]]
                for axis in range(2, len(shape)):
                    inside = [(first, end) for first, end, _ in ends[2:axis]]
                    beyond = [(0, end) for _, _, end in ends[axis + 1 :]]
                    first, last, end = ends[axis]
                    for span in ((0, first), (last, end)):
                        if span[0] < span[1]:
                            _fill(buffer, start, [*inside, span, *beyond], dtype)
            return builder.get()

    result = tirx.decl_buffer(shape, dtype, "border", layout=None)
    return te.extern(
        [tuple(shape)], [], statements, dtype=[dtype], out_buffers=[result], name="border"
    )


def _fill(
    buffer: Any, start: Sequence[tirx.PrimExpr], spans: Sequence[tuple[int, int]], dtype: str
) -> None:
    """Emit loops that put zeros where the axes after `start` lie in `spans`."""
    (first, end), *rest = spans
    loop = T.vectorized if not rest and end - first in (4, 8, 16) else T.serial
    with loop(first, end) as index:
        if rest:
            _fill(buffer, [*start, index], rest, dtype)
        else:
            buffer[(*start, index)] = tirx.const(0, dtype)
