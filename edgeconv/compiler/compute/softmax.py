"""Softmax in three passes over each row: maximum, exponentials and sum, scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any

import tvm
from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeconv.compiler.compute.loop_nest import loop_nest
from edgeconv.compiler.compute.reduce import limits

# Vectors of maxima that do not wait for each other.
MAXIMA = 4
# The exponential of a single that is 0 at most, or NaN, for which `codegen/functions.py` has code.
EXP_AT_MOST_ONE = "edgeconv.exp_at_most_one"
for _attribute, _value in (
    ("TVectorizable", True),
    ("TCallEffectKind", tirx.CallEffectKind.Pure.value),
    ("TScriptPrinterName", EXP_AT_MOST_ONE),
):
    tvm.ir.register_op_attr(EXP_AT_MOST_ONE, _attribute, _value)


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

    def build(source: Any, *others: Any) -> Any:
        *addends, target = others
        return _normalise(source, tuple(addends), target, lanes, parallel=parallel)

    return loop_nest("softmax", tensors, tensors[0].shape, build)


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
class Elements:
    """What is normalised together: the elements of one row, or of several rows side by side.

    Attributes:
        source: the buffer that holds them.
        at: returns where in `source` an element is, and a lane of it.
        count: elements of a row.
        width: lanes that are computed together.
        along: whether lanes are elements of one row; otherwise each is a row of its own.
    """

    source: Any
    at: Callable[[Any, Any], tuple[Any, ...]]
    count: int
    width: int
    along: bool

    def each(self, visit: Callable[[Any, Any], None], width: int | None = None) -> None:
        """Visit (element, lane) of all elements, the last of a row in narrower vectors."""
        width = width or self.width
        begin = 0
        while begin < self.count:
            width = power(self.count - begin, width) if self.along else width
            stride = width if self.along else 1
            steps = (self.count - begin) // stride
            with T.serial(0, steps) as step, T.vectorized(0, width) as lane:
                visit(begin + step * stride, lane)
            begin += steps * stride

    def maximum(self) -> Any:
        """Return a local buffer with the maximum of every row."""

        def compare(element: Any, lane: Any) -> None:
            peak[lane] = _larger(peak[lane], self.source[self.at(element, lane)])

        many = power(self.count, MAXIMA * self.width) if self.along else self.width
        peak = self.local(many, limits(self.source.dtype)[0])
        self.each(compare, many)
        self.fold(peak, _larger)
        return peak

    def exponentials(self, take: Callable[[Any, Any, Any], None]) -> Any:
        """Give `take` every exponential, relative to the maximum, with its element and lane.

        Returns:
            A local buffer with the inverse of the sum of every row.
        """
        dtype, peak = self.source.dtype, self.maximum()
        result = allocate((self.width,), dtype, "local")
        total = self.local(self.width, tirx.const(0, dtype))

        def add(element: Any, lane: Any) -> None:
            value = self.source[self.at(element, lane)]
            result[lane] = _exp_at_most_one(value - peak[self.row(lane)])
            total[lane] = total[lane] + result[lane]
            take(element, lane, result[lane])

        self.each(add)
        self.fold(total, lambda a, b: a + b)
        # The sum is one at least, so that its inverse is an ordinary number.
        with T.vectorized(0, 1 if self.along else self.width) as lane:
            total[lane] = tirx.const(1, dtype) / total[lane]
        return total

    def row(self, lane: Any) -> Any:
        """Return where a buffer with one value for every row has that of a lane."""
        return 0 if self.along else lane

    def local(self, size: int, value: Any) -> Any:
        """Return a local buffer that is filled with `value`."""
        buffer = allocate((size,), self.source.dtype, "local")
        with T.vectorized(0, size) as lane:
            buffer[lane] = value
        return buffer

    def fold(self, buffer: Any, combine: Callable[[Any, Any], Any]) -> None:
        """Combine what the lanes of a row have, into the first."""
        half = int(buffer.shape[0]) // 2 if self.along else 0
        while half:
            with T.vectorized(0, half) as lane:
                buffer[lane] = combine(buffer[lane], buffer[half + lane])
            half //= 2


def each_relative(
    addends: tuple[Any, Any], row: Any, lanes: int, put: Callable[[Any, Any], None]
) -> None:
    """Give `put` every element of a row with its logit of relative position.

    The last vector of a row of the image overlaps the one before: elements may come twice.
    """
    outer, inner = addends
    length = int(inner.shape[1])
    width = power(length, lanes)

    def pair(i: Any, first: Any) -> None:
        with T.vectorized(0, width) as lane:
            put(i * length + first + lane, outer[row, i] + inner[row, first + lane])

    with T.serial(0, int(outer.shape[1])) as i:
        with T.serial(0, length // width) as run:
            pair(i, run * width)
        if length % width:
            pair(i, length - width)


def allocate(shape: tuple[int, ...], dtype: str, scope: str) -> Any:
    """Return a buffer in registers ("local"), or in the thread's workspace ("global")."""
    return T.buffer_proxy(T.alloc_buffer(shape, dtype, scope=scope, layout=None))


def power(limit: int, most: int) -> int:
    """Return the largest power of two that is at most both."""
    return 1 << min(limit, most).bit_length() - 1


def _exp_at_most_one(x: Any) -> Any:
    if x.ty.dtype != "float32":
        return tirx.exp(x)
    return tirx.call_intrin("float32", EXP_AT_MOST_ONE, x)


def _larger(a: Any, b: Any) -> Any:
    # One instruction on x86. NaN may get lost, but not in the exponentials.
    return tirx.Select(a < b, b, a)


def _normalise(source: Any, addends: Any, target: Any, lanes: int, *, parallel: bool) -> Any:
    """Return the loops of `softmax`."""
    rows, count, columns = (int(size) for size in source.shape)
    # Lanes are elements of one row, or those of rows side by side.
    along = columns == 1
    width = power(count, lanes) if along else gcd(columns, lanes)
    runs = 1 if along else columns // width
    loop = T.parallel if parallel else T.serial
    with IRBuilder() as builder:
        with loop(0, rows * runs) as index:
            row, first = index // runs, index % runs * width

            def at(element: Any, lane: Any) -> tuple[Any, Any, Any]:
                return (row, element + lane, 0) if along else (row, element, first + lane)

            def put(element: Any, pair: Any) -> None:
                target[row, element, 0] = source[row, element, 0] + pair

            def keep(element: Any, lane: Any, value: Any) -> None:
                target[at(element, lane)] = value

            def scale(element: Any, lane: Any) -> None:
                place = at(element, lane)
                target[place] = target[place] * inverse[elements.row(lane)]

            if addends:
                each_relative(addends, row, lanes, put)
            elements = Elements(target if addends else source, at, count, width, along)
            inverse = elements.exponentials(keep)
            elements.each(scale)
        return builder.get()
