"""Adds the pixels of a register tile to each other before they are added to their sum.

A register tile's stores are unrolled, and each of them adds to the same sum, one after the other:
each addition would wait for the one before it. In pairs they take the logarithm of that, and round
less.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx

from edgeconv.compiler.schedules.pixel_sums import NAME


def add_in_pairs(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the unrolled function, in which what follows each other is added once to a sum."""

    def paired(sequence: Any) -> Any:
        kept: list[Any] = []
        terms: list[tuple[Any, list[Any]]] = []
        for statement in sequence.seq:
            if not _adds(statement):
                kept.append(statement)
                continue
            found = next((t for s, t in terms if _same_place(s, statement)), None)
            if found is None:
                terms.append((statement, [statement.value.b]))
            else:
                found.append(statement.value.b)
        for store, added in terms:
            value = store.value.a + _tree(added)
            kept.append(tirx.BufferStore(store.buffer, value, store.indices))
        return tirx.SeqStmt(kept) if len(kept) > 1 else kept[0]

    return tvm_ffi.structural_map(function, [(tirx.SeqStmt, paired)])


def _adds(statement: Any) -> bool:
    """Whether a statement adds to one of the sums."""
    return (
        isinstance(statement, tirx.BufferStore)
        and str(statement.buffer.name) == NAME
        and isinstance(statement.value, tirx.Add)
    )


def _same_place(store: Any, other: Any) -> bool:
    pairs = zip(store.indices, other.indices, strict=True)
    return all(tvm_ffi.structural_equal(index, where) for index, where in pairs)


def _tree(terms: list[Any]) -> Any:
    """Return the sum of some terms, halves of which are added first."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return _tree(terms[:half]) + _tree(terms[half:])
