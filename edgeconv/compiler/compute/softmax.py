"""Softmax as one kernel of three passes over each row: maximum, exponentials and sum, scaling."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeconv.compiler.compute.reduce import limits


def softmax(data: te.Tensor, lanes: int, parallel: bool) -> te.Tensor:
    """Exponentials of each row, relative to its maximum, divided by their sum.

    Args:
        data: (rows, elements, columns); what lies along the middle axis is normalised.
        lanes: elements that are computed together, along columns where there are several.
        parallel: whether to run rows in parallel.

    Returns:
        The shape and dtype of `data`.
    """
    shape, dtype = data.shape, data.dtype
    # Without buffers of our own, te declares them with offsets, which bare pointers do not have.
    source, target = (
        tirx.decl_buffer(shape, dtype, name, layout=None) for name in ("source", "target")
    )

    def statements(ins: Any, outs: Any) -> Any:
        return _Passes(T.buffer_proxy(ins[0]), T.buffer_proxy(outs[0]), lanes).build(parallel)

    return te.extern(
        [shape],
        [data],
        statements,
        dtype=[dtype],
        in_buffers=[source],
        out_buffers=[target],
        name="softmax",
    )


@dataclass(frozen=True)
class _Passes:
    """The loops of `softmax`."""

    source: Any
    target: Any
    lanes: int

    def build(self, parallel: bool) -> Any:
        """Return the kernel's body."""
        rows, elements, columns = (int(size) for size in self.source.shape)
        # Lanes along the row, and what is left of it one by one; or else along columns.
        along = columns == 1
        width = min(self.lanes, 1 << elements.bit_length() - 1) if along else self.lanes
        width = width if along else gcd(columns, width)
        runs = columns // width if not along else 1
        loop = T.parallel if parallel else T.serial
        with IRBuilder() as builder:
            with loop(0, rows * runs) as index:
                row, first = index // runs, index % runs * width

                def at(step: Any, lane: Any) -> tuple[Any, Any, Any]:
                    return (row, step * width + lane, 0) if along else (row, step, first + lane)

                self._row(at, width, elements, along)
            return builder.get()

    def _row(self, at: Any, width: int, elements: int, along: bool) -> None:
        """Normalise `width` lanes of rows side by side, or `along` one row."""
        dtype = self.source.dtype
        steps = elements // width if along else elements
        rest = elements % width if along else 0
        peak, total = (
            T.buffer_proxy(T.alloc_buffer((width,), dtype, scope="local", layout=None))
            for _ in range(2)
        )

        def one(lane: Any) -> Any:
            return 0 if along else lane

        def exponential(step: Any, lane: Any) -> Any:
            return tirx.exp(self.source[at(step, lane)] - peak[one(lane)])

        with T.vectorized(0, width) as lane:
            peak[lane] = limits(dtype)[0]
        with T.serial(0, steps) as step, T.vectorized(0, width) as lane:
            peak[lane] = tirx.max(peak[lane], self.source[at(step, lane)])
        if along:
            with T.unroll(1, width) as lane:
                peak[0] = tirx.max(peak[0], peak[lane])
            with T.serial(0, rest) as lane:
                peak[0] = tirx.max(peak[0], self.source[at(steps, lane)])

        with T.vectorized(0, width) as lane:
            total[lane] = tirx.const(0, dtype)
        with T.serial(0, steps) as step, T.vectorized(0, width) as lane:
            self.target[at(step, lane)] = exponential(step, lane)
            total[lane] = total[lane] + self.target[at(step, lane)]
        if along:
            with T.unroll(1, width) as lane:
                total[0] = total[0] + total[lane]
            with T.serial(0, rest) as lane:
                self.target[at(steps, lane)] = exponential(steps, lane)
                total[0] = total[0] + self.target[at(steps, lane)]

        # The sum is one at least, so that its inverse is an ordinary number.
        with T.vectorized(0, 1 if along else width) as lane:
            total[lane] = tirx.const(1, dtype) / total[lane]
        with T.serial(0, steps) as step, T.vectorized(0, width) as lane:
            self.target[at(step, lane)] = self.target[at(step, lane)] * total[one(lane)]
        with T.serial(0, rest) as lane:
            self.target[at(steps, lane)] = self.target[at(steps, lane)] * total[0]
