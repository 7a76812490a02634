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
n. Factors that are no halves yet, such as the network's own inputs and what is sampled between
pixels, are rounded: where they get into registers as vectors, or else where they are multiplied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.sym.analyzer import Analyzer

from edgeconv.compiler.schedules.common import replaced, uses

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
        """The factors of the product that is added to what stood there; None where none is.

        Constants do not count: transforms have them, whose sums are short.
        """
        value = self.value
        if (
            str(self.array.dtype) == _SINGLE
            and isinstance(value, tirx.Add)
            and isinstance(value.b, tirx.Mul)
            and isinstance(value.a, tvm.ir.TensorLoad)
            and value.a.source.same_as(self.array)
            and _base(value.a.indices[0], self.lane) == self.base
            and not {type(value.b.a), type(value.b.b)} & {tirx.FloatImm}
        ):
            return value.b.a, value.b.b
        return None

    @property
    def leaves(self) -> list[Any]:
        """What the factors are made of where they are halves."""
        return [leaf for factor in self.factors or () for leaf in _leaves(factor, self.lane)]

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
    stores = {i: made for i, s in enumerate(statements) if (made := _store(s)) is not None}
    terms = [store for store in stores.values() if store.array not in own]
    if not terms or any(term.factors is None for term in terms):
        return None
    others = (s for i, s in enumerate(statements) if i not in stores)
    scalars = {_written(s) for s in others if not isinstance(s, tirx.AllocBuffer)}
    if not scalars <= own.keys():
        return None
    each = max(Counter((term.array, term.base) for term in terms).values())
    extent = int(loop.extent)
    # A power of two, so that a mask tells where a run ends.
    count = min(extent, 1 << (LONGEST // each).bit_length() - 1) if each <= LONGEST else 0
    if each * count < SHORTEST:
        return None
    vectors = [array for array in own if array not in scalars]
    halves = _in_half(array for array in vectors if _is_only_multiplied(array, loop.body, terms))
    parts = _in_half((term.array for term in terms), "_part")
    body = [
        _narrowed(stores[i], halves, parts) if i in stores else _allocated(statement, halves)
        for i, statement in enumerate(statements)
    ]
    statement = _in_runs(loop, count, body, terms, parts)
    return _Cut(statement, [*parts.values(), *halves.values()], each * count)


def _in_half(arrays: Iterable[Any], suffix: str = "") -> dict[Any, Any]:
    """Return private arrays of halves, by those that they are in the place of."""
    return {
        array: tirx.decl_buffer(array.shape, _HALF, f"{array.name}{suffix}", scope="local")
        for array in dict.fromkeys(arrays)
    }


def _is_only_multiplied(array: Any, body: Any, terms: Iterable[_Store]) -> bool:
    """Whether all that is read of an array are factors of the terms, at places that are known."""
    loads: list[Any] = []
    tvm_ffi.structural_walk(body, (tvm.ir.TensorLoad, loads.append))
    read = sum(_is_load(load, array) for load in loads)
    multiplied = sum(
        _is_load(leaf, array) and _is_constant(leaf.indices[0], term.lane)
        for term in terms
        for leaf in term.leaves
    )
    return 0 < multiplied == read


def _is_load(value: Any, array: Any) -> bool:
    return isinstance(value, tvm.ir.TensorLoad) and bool(value.source.same_as(array))


def _is_constant(index: Any, lane: Any) -> bool:
    """Whether every lane has an index that is known now."""
    first = replaced(index, lane, tirx.IntImm(str(lane.ty.dtype), 0))
    return isinstance(Analyzer().simplify(first), tirx.IntImm)


def _allocated(statement: Any, halves: Mapping[Any, Any]) -> Any:
    """Return the allocation of what stands for an array; any other statement as it is."""
    if isinstance(statement, tirx.AllocBuffer) and statement.buffer in halves:
        return tirx.AllocBuffer(halves[statement.buffer])
    return statement


def _narrowed(store: _Store, halves: Mapping[Any, Any], parts: Mapping[Any, Any]) -> Any:
    """Return what a store does with arrays of halves."""
    part = parts.get(store.array)
    if part is not None:
        first, second = (_half(factor, store.lane, halves) for factor in store.factors or ())
        return store.written(part, store.load(part) + first * second)
    array = halves.get(store.array)
    if array is not None:
        return store.written(array, _half(store.value, store.lane, halves))
    return store.written(store.array, store.value)


def _half(value: Any, lane: Any, halves: Mapping[Any, Any]) -> Any:
    """Return a value as a half, rounded where it is none."""
    if _is_widened(value):
        return _half(value.value, lane, halves)
    if _is_choice(value, lane):
        condition, *choices = value.args
        return tirx.if_then_else(condition, *(_half(choice, lane, halves) for choice in choices))
    if isinstance(value, tvm.ir.TensorLoad) and value.source in halves:
        return tirx.BufferLoad(halves[value.source], value.indices)
    return value if str(value.ty.dtype) == _HALF else tirx.Cast(_HALF, value)


def _leaves(value: Any, lane: Any) -> Iterator[Any]:
    """Yield what `_half` makes halves of."""
    if _is_widened(value):
        yield from _leaves(value.value, lane)
    elif _is_choice(value, lane):
        for choice in value.args[1:]:
            yield from _leaves(choice, lane)
    else:
        yield value


def _is_widened(value: Any) -> bool:
    return isinstance(value, tirx.Cast) and str(value.value.ty.dtype) == _HALF


def _is_choice(value: Any, lane: Any) -> bool:
    """Whether one value or another is chosen for all lanes."""
    choice = isinstance(value, tvm.ir.Call) and value.op.name == "prim.if_then_else"
    return choice and not uses(value.args[0], lane)


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


def _written(statement: Any) -> Any:
    """Return what a store, or a loop around one, writes to; None for any other statement."""
    inner = statement.body if isinstance(statement, tirx.For) else statement
    return inner.buffer if isinstance(inner, tirx.BufferStore) else None


def _base(index: Any, lane: Any) -> int | None:
    """Return the constant, a multiple of the lanes, that `index` is before the lane."""
    if index.same_as(lane):
        return 0
    if isinstance(index, tirx.Add) and index.a.same_as(lane) and isinstance(index.b, tirx.IntImm):
        return int(index.b.value) if int(index.b.value) % LANES == 0 else None
    return None
