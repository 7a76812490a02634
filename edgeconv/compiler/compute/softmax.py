"""Softmax in three passes over each row: maximum, exponentials and sum, scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeconv.compiler.compute.reduce import limits

# Vectors of maxima that do not wait for each other.
MAXIMA = 4


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
        # Lanes are elements of one row, or those of rows side by side.
        along = columns == 1
        width = _power(elements, self.lanes) if along else gcd(columns, self.lanes)
        runs = 1 if along else columns // width
        loop = T.parallel if parallel else T.serial
        with IRBuilder() as builder:
            with loop(0, rows * runs) as index:
                row, first = index // runs, index % runs * width

                def at(element: Any, lane: Any) -> tuple[Any, Any, Any]:
                    return (row, element + lane, 0) if along else (row, element, first + lane)

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

    def _row(self, at: Callable[..., Any], width: int, elements: int, along: bool) -> None:
        """Normalise `width` rows side by side, or one row `along` its elements."""
        dtype = self.source.dtype
        source, target = self.target if self.addends else self.source, self.target
        many = _power(elements, MAXIMA * width) if along else width
        peak, total = (
            T.buffer_proxy(T.alloc_buffer((size,), dtype, scope="local", layout=None))
            for size in (many, width)
        )

        def each(visit: Callable[[Any, Any], None], width: int = width) -> None:
            """Visit all elements, the last of a row in narrower vectors."""
            begin = 0
            while begin < elements:
                width = _power(elements - begin, width) if along else width
                stride = width if along else 1
                steps = (elements - begin) // stride
                with T.serial(0, steps) as step, T.vectorized(0, width) as lane:
                    visit(at(begin + step * stride, lane), lane)
                begin += steps * stride

        def start(result: Any, value: Any) -> None:
            with T.vectorized(0, int(result.shape[0])) as lane:
                result[lane] = value

        def fold(result: Any, combine: Callable[[Any, Any], Any]) -> None:
            half = int(result.shape[0]) // 2 if along else 0
            while half:
                with T.vectorized(0, half) as lane:
                    result[lane] = combine(result[lane], result[half + lane])
                half //= 2

        def one(lane: Any) -> Any:
            return 0 if along else lane

        def larger(a: Any, b: Any) -> Any:
            # One instruction on x86. NaN may get lost, but not in the exponentials.
            return tirx.Select(a < b, b, a)

        def compare(place: Any, lane: Any) -> None:
            peak[lane] = larger(peak[lane], source[place])

        def add(place: Any, lane: Any) -> None:
            target[place] = tirx.exp(source[place] - peak[one(lane)])
            total[lane] = total[lane] + target[place]

        def scale(place: Any, lane: Any) -> None:
            target[place] = target[place] * total[one(lane)]

        start(peak, limits(dtype)[0])
        each(compare, many)
        fold(peak, larger)
        start(total, tirx.const(0, dtype))
        each(add)
        fold(total, lambda a, b: a + b)
        # The sum is one at least, so that its inverse is an ordinary number.
        with T.vectorized(0, 1 if along else width) as lane:
            total[lane] = tirx.const(1, dtype) / total[lane]
        each(scale)


def _power(limit: int, most: int) -> int:
    """Return the largest power of two that is at most both."""
    return 1 << min(limit, most).bit_length() - 1
