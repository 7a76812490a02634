"""Softmax in three passes over each row: maximum, exponentials and sum, scaling."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeconv.compiler.compute.reduce import limits


def softmax(*tensors: te.Tensor, lanes: int, parallel: bool) -> te.Tensor:
    """Exponentials of each row, relative to its maximum, divided by their sum; one loop nest.

    Args:
        tensors: data (rows, elements, columns); what lies along the middle axis is normalised.
            Optionally two addends (rows, R) and (rows, C) with elements = R * C and one column:
            element i * C + j gets the sum of element i of the one and j of the other, as logits of
            relative position in an image do.
        lanes: elements that are computed together, along columns where there are several.
        parallel: whether to run rows in parallel.

    Returns:
        The shape and dtype of the data.
    """
    shape, dtype = tensors[0].shape, tensors[0].dtype
    # Without buffers of our own, te declares them with offsets, which bare pointers do not have.
    sources = [
        tirx.decl_buffer(tensor.shape, dtype, f"source{i}", layout=None)
        for i, tensor in enumerate(tensors)
    ]
    target = tirx.decl_buffer(shape, dtype, "target", layout=None)

    def statements(ins: Any, outs: Any) -> Any:
        source, *addends = (T.buffer_proxy(buffer) for buffer in ins)
        return _Passes(source, tuple(addends), T.buffer_proxy(outs[0]), lanes).build(parallel)

    return te.extern(
        [shape],
        list(tensors),
        statements,
        dtype=[dtype],
        in_buffers=sources,
        out_buffers=[target],
        name="softmax",
    )


def softmax_stages(*tensors: te.Tensor) -> te.Tensor:
    """Return what `softmax` does of the same tensors, as one stage for each pass."""
    data, *addends = tensors
    rows, elements, columns = (int(size) for size in data.shape)

    def logit(row: Any, element: Any, column: Any) -> Any:
        value = data(row, element, column)
        if not addends:
            return value
        outer, inner = addends
        length = int(inner.shape[1])
        return value + (outer(row, element // length) + inner(row, element % length))

    k = te.reduce_axis((0, elements), name="k")
    peak = te.compute((rows, columns), lambda row, c: te.max(logit(row, k, c), axis=k), name="peak")

    def exponential(row: Any, element: Any, column: Any) -> Any:
        return tirx.exp(logit(row, element, column) - peak(row, column))

    j = te.reduce_axis((0, elements), name="j")
    total = te.compute(
        (rows, columns), lambda row, c: te.sum(exponential(row, j, c), axis=j), name="total"
    )
    return te.compute(
        data.shape, lambda row, i, c: exponential(row, i, c) / total(row, c), name="softmax"
    )


@dataclass(frozen=True)
class _Passes:
    """The loops of `softmax`."""

    source: Any
    addends: tuple[Any, ...]
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

                if self.addends:
                    self._add(row)
                self._row(at, width, elements, along)
            return builder.get()

    def _add(self, row: Any) -> None:
        """Write the data with its addends to the target."""
        outer, inner = self.addends
        length = int(inner.shape[1])
        width = gcd(length, self.lanes)
        runs = length // width
        with T.serial(0, int(outer.shape[1])) as i, T.serial(0, runs) as run:
            first = run * width
            with T.vectorized(0, width) as lane:
                place = row, i * length + first + lane, 0
                pair = outer[row, i] + inner[row, first + lane]
                self.target[place] = self.source[place] + pair

    def _row(self, at: Any, width: int, elements: int, along: bool) -> None:
        """Normalise `width` lanes of rows side by side, or `along` one row."""
        dtype = self.source.dtype
        steps = elements // width if along else elements
        rest = elements % width if along else 0
        source = self.target if self.addends else self.source
        peak, total = (
            T.buffer_proxy(T.alloc_buffer((width,), dtype, scope="local", layout=None))
            for _ in range(2)
        )

        def one(lane: Any) -> Any:
            return 0 if along else lane

        def exponential(step: Any, lane: Any) -> Any:
            return tirx.exp(source[at(step, lane)] - peak[one(lane)])

        with T.vectorized(0, width) as lane:
            peak[lane] = limits(dtype)[0]
        with T.serial(0, steps) as step, T.vectorized(0, width) as lane:
            peak[lane] = tirx.max(peak[lane], source[at(step, lane)])
        if along:
            with T.unroll(1, width) as lane:
                peak[0] = tirx.max(peak[0], peak[lane])
            with T.serial(0, rest) as lane:
                peak[0] = tirx.max(peak[0], source[at(steps, lane)])

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
