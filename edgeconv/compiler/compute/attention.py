"""Attention in one kernel: softmax(Q K^T) V, some rows of queries at a time.

The logits of those rows stay in the thread's workspace, from one product to the other; memory never
holds those of all rows. Others take a part of a row at a time (Rabe and Staats, "Self-attention
Does Not Need O(n^2) Memory", arXiv:2112.05682); taking whole rows, nothing has to be scaled anew.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import gcd
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeconv.compiler.compute.loop_nest import loop_nest
from edgeconv.compiler.compute.softmax import Elements, allocate, each_relative, power


@dataclass(frozen=True)
class Tiling:
    """How attention is cut.

    Attributes:
        lanes: elements of a vector.
        rows: queries of a task.
        key_rows: queries whose products with a panel of keys are summed together.
        value_rows: and with a panel of values; 0 where values are rows, not panels.
        steps: elements of a row that are loaded as one vector, of which products take lanes, where
            the row has a multiple of them.
        parallel: whether to run tasks in parallel.
    """

    lanes: int
    rows: int
    key_rows: int
    value_rows: int
    steps: int
    parallel: bool


def attention(*tensors: te.Tensor, columns: int, tiling: Tiling) -> te.Tensor:
    """Softmax of the queries' products with keys, times the values; one loop nest.

    Args:
        tensors: in this order

            - queries (B, M, D);
            - keys, packed (B, panels, D, t), with zeros beyond the last;
            - values: rows (B, N, K) of one column each, with K keys, or packed columns
              (B, panels, K, t), with zeros beyond N;
            - optionally two addends (B * M, R) and (B * M, C) with K = R * C: the logit of key
              i * C + j gets the sum of element i of the one and j of the other.
        columns: N.
        tiling: how it is cut.

    Returns:
        (B, M, N), of the dtype of the queries.
    """
    batch, rows, _ = (int(size) for size in tensors[0].shape)

    def build(queries: Any, keys: Any, values: Any, *others: Any) -> Any:
        *addends, target = others
        return _Attention(queries, keys, values, tuple(addends), target, tiling).build()

    return loop_nest("attention", tensors, (batch, rows, columns), build)


@dataclass(frozen=True)
class _Attention:
    """The loops of `attention`."""

    queries: Any
    keys: Any
    values: Any
    addends: tuple[Any, ...]
    target: Any
    tiling: Tiling

    def build(self) -> Any:
        """Return the kernel's body."""
        batch, rows, _ = (int(size) for size in self.target.shape)
        panels, _, width = (int(size) for size in self.keys.shape[1:])
        tile = self.tiling.rows
        tasks, rest = -(-rows // tile), rows % tile
        loop = T.parallel if self.tiling.parallel and batch * tasks > 1 else T.serial
        with IRBuilder() as builder:
            with loop(0, batch * tasks) as index:
                b, first = index // tasks, index % tasks * tile
                logits = allocate((tile, panels * width), self.target.dtype, "global")
                if not rest:
                    self._task(logits, b, first, tile)
                else:
                    # Twice, so that either has a constant number of rows.
                    with T.If(first + tile <= rows):
                        with T.Then():
                            self._task(logits, b, first, tile)
                        with T.Else():
                            self._task(logits, b, first, rest)
            return builder.get()

    def _task(self, logits: Any, b: Any, first: Any, rows: int) -> None:
        """Compute `rows` of a batch, from the `first` on."""
        depth, width = (int(size) for size in self.keys.shape[2:])
        if self.addends:
            self._start(logits, b * int(self.target.shape[1]) + first, rows)

        def start(row: Any, column: Any) -> Any:
            return logits[row, column] if self.addends else tirx.const(0, logits.dtype)

        def put(row: Any, column: Any, value: Any) -> None:
            logits[row, column] = value

        _Product(
            factor=lambda row, k: self.queries[b, first + row, k],
            packed=lambda *place: self.keys[(b, *place)],
            start=start,
            put=put,
            size=(rows, depth, int(logits.shape[1])),
            tile=(self.tiling.key_rows, width),
            lanes=self.tiling.lanes,
            steps=gcd(depth, self.tiling.steps),
        ).build(logits.dtype)
        if self.tiling.value_rows:
            self._times_panels(logits, b, first, rows)
        else:
            self._times_rows(logits, b, first, rows)

    def _start(self, logits: Any, first: Any, rows: int) -> None:
        """Write the logits of relative position, to which products are added."""
        with T.serial(0, rows) as row:

            def put(key: Any, value: Any) -> None:
                logits[row, key] = value

            each_relative(self.addends, first + row, self.tiling.lanes, put)

    def _elements(self, logits: Any, row: Any) -> Elements:
        """Return the logits of a row, less what fills the last panel."""
        keys = int(self.values.shape[2])
        width = power(keys, self.tiling.lanes)
        return Elements(logits, lambda k, lane: (row, k + lane), keys, width, along=True)

    def _times_rows(self, logits: Any, b: Any, first: Any, rows: int) -> None:
        """Multiply by few columns of values, along keys, while exponentials are in registers."""
        columns = range(int(self.values.shape[1]))
        with T.serial(0, rows) as row:
            elements = self._elements(logits, row)
            sums = [elements.local(elements.width, tirx.const(0, logits.dtype)) for _ in columns]

            def take(k: Any, lane: Any, value: Any) -> None:
                for column, total in zip(columns, sums, strict=True):
                    total[lane] = total[lane] + value * self.values[b, column, k + lane]

            inverse = elements.exponentials(take)
            for column, total in zip(columns, sums, strict=True):
                elements.fold(total, lambda a, b: a + b)
                self.target[b, first + row, column] = total[0] * inverse[0]

    def _times_panels(self, logits: Any, b: Any, first: Any, rows: int) -> None:
        """Multiply by many columns of values, side by side in vectors."""
        keys, width = (int(size) for size in self.values.shape[2:])
        inverses = allocate((rows,), logits.dtype, "global")
        with T.serial(0, rows) as row:

            def keep(k: Any, lane: Any, value: Any) -> None:
                logits[row, k + lane] = value

            inverses[row] = self._elements(logits, row).exponentials(keep)[0]

        def put(row: Any, column: Any, value: Any) -> None:
            self.target[b, first + row, column] = value * inverses[row]

        _Product(
            factor=lambda row, k: logits[row, k],
            packed=lambda *place: self.values[(b, *place)],
            start=lambda row, column: tirx.const(0, logits.dtype),
            put=put,
            size=(rows, keys, int(self.target.shape[2])),
            tile=(self.tiling.value_rows, width),
            lanes=self.tiling.lanes,
            steps=gcd(keys, self.tiling.steps),
        ).build(logits.dtype)


@dataclass(frozen=True)
class _Product:
    """A matrix times packed columns, a register tile at a time.

    Attributes:
        factor: returns element (row, k) of the matrix.
        packed: returns element (panel, k, column) of the columns, (ceil(N / t), K, t).
        start: returns from what the sum (row, column) starts.
        put: stores (row, column, sum).
        size: (M, K, N).
        tile: rows and columns that are summed together, (r, t).
        lanes: elements of a vector, which divides t.
        steps: elements of a row that are loaded as one vector, which divides K.
    """

    factor: Callable[[Any, Any], Any]
    packed: Callable[[Any, Any, Any], Any]
    start: Callable[[Any, Any], Any]
    put: Callable[[Any, Any, Any], None]
    size: tuple[int, int, int]
    tile: tuple[int, int]
    lanes: int
    steps: int

    def build(self, dtype: str) -> None:
        """Make the loops over panels and rows; those of a panel meet it in the cache."""
        count, _, columns = self.size
        rows, width = self.tile
        groups, rest = divmod(count, rows)
        with T.serial(0, -(-columns // width)) as panel:
            with T.serial(0, groups) as group:
                self._tile(panel, group * rows, rows, dtype)
            if rest:
                self._tile(panel, groups * rows, rest, dtype)

    def _tile(self, panel: Any, first: Any, rows: int, dtype: str) -> None:
        """Multiply `rows` from the `first` on by the columns of a panel."""
        _, depth, columns = self.size
        width, lanes, steps = self.tile[1], self.lanes, self.steps
        vectors = width // lanes
        sums = allocate((rows, width), dtype, "local")
        with T.unroll(0, rows) as i, T.unroll(0, vectors) as v, T.vectorized(0, lanes) as lane:
            column = v * lanes + lane
            sums[i, column] = self.start(first + i, panel * width + column)
        with T.serial(0, depth // steps) as run:
            factors = allocate((rows, steps), dtype, "local")
            with T.unroll(0, rows) as i, T.vectorized(0, steps) as step:
                factors[i, step] = self.factor(first + i, run * steps + step)
            with (
                T.unroll(0, steps) as step,
                T.unroll(0, rows) as i,
                T.unroll(0, vectors) as v,
                T.vectorized(0, lanes) as lane,
            ):
                column = v * lanes + lane
                product = factors[i, step] * self.packed(panel, run * steps + step, column)
                sums[i, column] = sums[i, column] + product
        # Vectors that end with the columns, and in the last panel those before that end.
        part = gcd(columns, lanes)
        for begin in range(0, width, part):
            with ExitStack() as condition:
                if columns % width:
                    condition.enter_context(T.If(panel * width + begin < columns))
                    condition.enter_context(T.Then())
                with T.unroll(0, rows) as i, T.vectorized(0, part) as lane:
                    column = begin + lane
                    self.put(first + i, panel * width + column, sums[i, column])
