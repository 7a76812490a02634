"""Sums of products in arithmetic of half precision, which a GPU does twice as fast as of single.

A sum of halves loses a digit or two where it is long. So a loop over terms

    for i: sum += x[i] * w[i]

sums a run of them in halves, and adds that to the sum in single precision:

    part = 0
    for i:
        part += x[i] * w[i]
        where a run ends: sum += part, part = 0

A run of n terms costs as much as n / 2 multiply-adds of floats, a conversion and an addition: there
is nothing to gain from few terms, and little from more than 32, while errors grow with the root of
n. Only operands that are stored in half precision are multiplied this way, so that none is rounded
for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from edgeconv.compiler.schedules.common import replaced

# Terms of a run, at least and at most.
SHORTEST, LONGEST = 8, 32
LANES = 4
_HALF, _SINGLE = "float16", "float32"


@dataclass(frozen=True)
class HalfSums:
    """A function that sums in half precision.

    Attributes:
        function: the function.
        halves: its private arrays of halves with which it calculates.
        run: terms of its longest run; 0 where it has none.
    """

    function: tirx.PrimFunc
    halves: frozenset[Any] = frozenset()
    run: int = 0


def sum_in_halves(function: tirx.PrimFunc) -> HalfSums:
    """Return a lowered function whose sums of products are of halves where they can be."""
    halves: set[Any] = set()
    runs = [0]

    def visit(loop: Any) -> Any:
        cut = _cut(loop) if int(loop.kind) == tirx.ForKind.SERIAL else None
        if cut is None:
            return loop
        halves.update(cut.halves)
        runs.append(cut.run)
        return cut.statement

    changed = tvm_ffi.structural_map(function, (tirx.For, visit))
    return HalfSums(changed, frozenset(halves), max(runs))


@dataclass(frozen=True)
class _Store:
    """A vector loop that writes four elements of a private array, from element `base` on."""

    lane: Any
    array: Any
    base: int
    value: Any

    @property
    def factors(self) -> tuple[Any, Any] | None:
        """The factors of the product that is added to what stood there; None where none is."""
        value = self.value
        if (
            str(self.array.dtype) == _SINGLE
            and isinstance(value, tirx.Add)
            and isinstance(value.b, tirx.Mul)
            and isinstance(value.a, tvm.ir.TensorLoad)
            and value.a.source.same_as(self.array)
            and _base(value.a.indices[0], self.lane) == self.base
        ):
            return value.b.a, value.b.b
        return None

    def load(self, array: Any) -> Any:
        """Return the same place of another array."""
        return tirx.BufferLoad(array, [self.base + self.lane])

    def written(self, array: Any, value: Any) -> Any:
        """Return the loop with another array and value."""
        var = tirx.Var(self.lane.name, str(self.lane.ty.dtype))
        store = tirx.BufferStore(array, value, [self.base + self.lane])
        zero, count = (tirx.IntImm(str(var.ty.dtype), n) for n in (0, LANES))
        body = replaced(store, self.lane, var)
        return tirx.For(var, zero, count, tirx.ForKind.VECTORIZED, body)


@dataclass(frozen=True)
class _Cut:
    """A loop in runs of `run` terms, with its arrays of halves."""

    statement: Any
    halves: Iterable[Any]
    run: int


def _cut(loop: Any) -> _Cut | None:
    """Return a loop in runs; None where they would be short or long, or it does something else."""
    statements = list(loop.body.seq) if isinstance(loop.body, tirx.SeqStmt) else [loop.body]
    own = dict.fromkeys(s.buffer for s in statements if isinstance(s, tirx.AllocBuffer))
    stores = {i: _store(s) for i, s in enumerate(statements) if not isinstance(s, tirx.AllocBuffer)}
    made = [store for store in stores.values() if store is not None]
    terms = [store for store in made if store.array not in own]
    if len(made) < len(stores) or not terms or any(term.factors is None for term in terms):
        return None
    each = max(Counter((term.array, term.base) for term in terms).values())
    extent = int(loop.extent)
    # A power of two, so that a mask tells where a run ends.
    count = min(extent, 1 << (LONGEST // each).bit_length() - 1) if each <= LONGEST else 0
    if each * count < SHORTEST:
        return None
    halves = _Halves(own, [store for store in made if store.array in own])
    parts = {
        total: tirx.decl_buffer(total.shape, _HALF, f"{total.name}_part", scope="local")
        for total in dict.fromkeys(term.array for term in terms)
    }
    body = [
        halves.allocated(s) if i not in stores else _narrowed(stores[i], halves, parts)
        for i, s in enumerate(statements)
    ]
    if any(statement is None for statement in body):
        return None
    statement = _in_runs(loop, count, body, terms, parts)
    return _Cut(statement, [*parts.values(), *halves.arrays.values()], each * count)


def _narrowed(store: Any, halves: _Halves, parts: Mapping[Any, Any]) -> Any:
    """Return what a store does with arrays of halves; None where it cannot be done with them."""
    part = parts.get(store.array)
    if part is None:
        array, value = halves.arrays.get(store.array), halves.value(store.value, store.lane)
        return None if array is None else store.written(array, value)
    first, second = (halves.factor(factor, store.lane) for factor in store.factors)
    if first is None or second is None:
        return None
    return store.written(part, store.load(part) + first * second)


def _in_runs(
    loop: Any, count: int, body: Sequence[Any], terms: Sequence[_Store], parts: Mapping[Any, Any]
) -> Any:
    """Return the loop with this body, after every `count` iterations of which a run ends."""
    begin, end = [], []
    for term in {(term.array, term.base): term for term in terms}.values():
        part = parts[term.array]
        added = term.load(term.array) + tirx.Cast(_SINGLE, term.load(part))
        begin.append(term.written(part, tirx.FloatImm(_HALF, 0.0)))
        end.append(term.written(term.array, added))
    extent, var = int(loop.extent), loop.loop_var
    inside = list(body)
    if extent > count:
        last = tirx.EQ(tirx.bitwise_and(var - loop.min, count - 1), count - 1)
        inside.append(tirx.IfThenElse(last, tirx.SeqStmt([*end, *begin]), None))
    around = tirx.For(var, loop.min, loop.extent, loop.kind, tirx.stmt_seq(*inside))
    rest = end if extent % count or extent == count else []
    return tirx.SeqStmt([*map(tirx.AllocBuffer, parts.values()), *begin, around, *rest])


def _store(statement: Any) -> _Store | None:
    if (
        isinstance(statement, tirx.For)
        and int(statement.kind) == tirx.ForKind.VECTORIZED
        and int(statement.extent) == LANES
        and isinstance(statement.body, tirx.BufferStore)
        and statement.body.buffer.scope() == "local"
    ):
        store, lane = statement.body, statement.loop_var
        base = _base(store.indices[0], lane)
        # An array of vectors, since there may be no others of halves.
        whole = prod(int(size) for size in store.buffer.shape) % LANES == 0
        return None if base is None or not whole else _Store(lane, store.buffer, base, store.value)
    return None


def _base(index: Any, lane: Any) -> int | None:
    """Return the constant, a multiple of the lanes, that `index` is before the lane."""
    if index.same_as(lane):
        return 0
    if isinstance(index, tirx.Add) and index.a.same_as(lane) and isinstance(index.b, tirx.IntImm):
        return int(index.b.value) if int(index.b.value) % LANES == 0 else None
    return None


class _Halves:
    """Private arrays that hold nothing but halves: `arrays` of that type by what they stand for."""

    def __init__(self, own: Iterable[Any], stores: Sequence[_Store]) -> None:
        self.arrays: dict[Any, Any] = {}
        for array in own:
            written = [store for store in stores if store.array.same_as(array)]
            if all(self.value(store.value, store.lane) is not None for store in written):
                new = tirx.decl_buffer(array.shape, _HALF, array.name, scope="local")
                self.arrays[array] = new

    def allocated(self, allocation: Any) -> Any:
        """Return the allocation of what stands for an array; None where nothing does."""
        array = self.arrays.get(allocation.buffer)
        return None if array is None else tirx.AllocBuffer(array)

    def factor(self, value: Any, lane: Any) -> Any:
        """Return the same of a factor; None also for a constant, such as those of transforms."""
        return None if isinstance(value, tirx.FloatImm) else self.value(value, lane)

    def value(self, value: Any, lane: Any) -> Any:
        """Return a value as a half; None where it is not known to be one, or is no vector's."""
        if isinstance(value, tirx.FloatImm):
            exact = float(np.float16(value.value)) == float(value.value)
            return tirx.FloatImm(_HALF, value.value) if exact else None
        if isinstance(value, tirx.Cast):
            return self.value(value.value, lane) if str(value.value.ty.dtype) == _HALF else None
        if isinstance(value, tvm.ir.TensorLoad):
            return self._load(value, lane)
        if isinstance(value, tvm.ir.Call) and value.op.name == "prim.if_then_else":
            condition, *choices = value.args
            first, second = (self.value(choice, lane) for choice in choices)
            if first is None or second is None:
                return None
            return tirx.if_then_else(condition, first, second)
        return None

    def _load(self, load: Any, lane: Any) -> Any:
        if load.source.scope() != "local":
            return load if str(load.source.dtype) == _HALF else None
        array, (index,) = self.arrays.get(load.source), load.indices
        if array is None or not (isinstance(index, tirx.IntImm) or _base(index, lane) is not None):
            return None
        return tirx.BufferLoad(array, [index])
