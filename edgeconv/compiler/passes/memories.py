"""Which tensors can lie inside others: an analysis for `share_memory`."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import tvm
from tvm import relax

from edgeconv.compiler.graph import Frame, Graph
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    arguments_of,
    bindings_of,
    op_name,
    output_tuple,
    shape_of,
)

CHANNELS = 1


def find_frames(graph: Graph, alignment: int) -> tuple[dict[str, Frame], frozenset[str]]:
    """Return frames by variable, and the variables that are in place without doing anything.

    Parts that are read as rows of bytes lie at multiples of `alignment`.
    """
    memories = _Memories(graph, alignment)
    joined = [var.name for var, value in memories.calls if memories.join(var, value)]
    padded = [var for var, value in memories.calls if memories.pad(var, value)]
    idle = [var.name for var in padded if not any(map(any, graph.paddings[var.name]))]
    cut = [var.name for var, value in memories.calls if memories.cut(var, value)]
    return memories.frames(padded), frozenset((*joined, *idle, *cut))


class _Memories:
    """Tensors that share memory: each is a part, by channels, of another, joined of them or cut.

    Attributes:
        calls: bindings of kernels with one result, in order.
    """

    def __init__(self, graph: Graph, alignment: int) -> None:
        self._graph = graph
        self._alignment = alignment
        bindings = bindings_of(graph.main)
        self.calls = [
            (var, value)
            for var, value in bindings
            if op_name(value) == CALL_TIR and isinstance(var.ty, relax.TensorType)
        ]
        self._made = {var.name: var for var, _ in self.calls}
        owners: dict[str, str] = {}
        # Tensors that have other names too, under which they are read as rows of bytes.
        self._rows: set[str] = set()
        for var, value in bindings:
            if op_name(value) == CALL_TIR or isinstance(value, relax.Tuple):
                continue
            for argument in arguments_of(value):
                if isinstance(argument, relax.Var):
                    owners[var.name] = owners.get(argument.name, argument.name)
                    self._rows.add(owners[var.name])
        outputs = [o.name for o in output_tuple(graph.main) if isinstance(o, relax.Var)]
        self._results = {owners.get(name, name) for name in outputs}
        self._parts: dict[str, list[str]] = {}
        self._whole: dict[str, tuple[str, int]] = {}
        self._padded: dict[str, str] = {}

    def join(self, var: relax.Var, value: tvm.ir.Call) -> bool:
        """Let the operands of a join be parts of its result, if they can be."""
        if self._graph.joins.get(var.name) != CHANNELS or var.name in self._results:
            return False
        parts = [getattr(operand, "name", "") for operand in value.args[1].fields]
        if len(set(parts)) < len(parts) or not all(map(self._is_free, parts)):
            return False
        if any(not _same_type(self._made[part], var) for part in parts):
            return False
        batch, _, *rest = shape_of(var)
        aligned = batch == 1 and prod(rest) * _itemsize(var) % self._alignment == 0
        members = [member for part in parts for member in self._members(part)]
        if not aligned and self._rows & set(members):
            return False
        start = 0
        for part in parts:
            self._whole[part] = (var.name, start)
            start += shape_of(self._made[part])[CHANNELS]
        self._parts[var.name] = parts
        return True

    def pad(self, var: relax.Var, value: tvm.ir.Call) -> bool:
        """Let the operand of a padding be its result's inside, if it can be."""
        if var.name not in self._graph.paddings:
            return False
        operand = getattr(value.args[1].fields[0], "name", "")
        if operand not in self._made or operand in self._results:
            return False
        if not _same_type(self._made[operand], var):
            return False
        if self._rows & set(self._members(self._root(operand)[0])):
            return False
        self._padded[var.name] = operand
        return True

    def cut(self, var: relax.Var, value: tvm.ir.Call) -> bool:
        """Let a slice be a part of its operand, if it can be."""
        operand, axis, first = self._graph.slices.get(var.name, ("", 0, 0))
        # A kernel of that name that does more than to cut reads something else.
        read = [getattr(argument, "name", "") for argument in value.args[1].fields]
        if axis != CHANNELS or read != [operand] or operand not in self._made:
            return False
        root, start = self._root(operand)
        if root in self._results or not self._is_free(var.name):
            return False
        batch, _, *rest = shape_of(var)
        offset = (start + first) * prod(rest) * _itemsize(var)
        part = set(self._members(var.name))
        members = part.union(self._members(root))
        if not members.isdisjoint(self._padded.values()):
            fits = not self._rows & members
        else:
            fits = (batch == 1 and offset % self._alignment == 0) or not self._rows & part
        if not fits:
            return False
        self._whole[var.name] = (operand, first)
        self._parts.setdefault(operand, []).append(var.name)
        return True

    def _is_free(self, name: str) -> bool:
        return name in self._made and name not in self._results and name not in self._whole

    def _members(self, name: str) -> Iterator[str]:
        """Yield a tensor and what it consists of."""
        yield name
        for part in self._parts.get(name, ()):
            yield from self._members(part)

    def _root(self, name: str) -> tuple[str, int]:
        """Return which memory a tensor lies in, and its first channel there."""
        first = 0
        while name in self._whole:
            name, start = self._whole[name]
            first += start
        return name, first

    def frames(self, padded: list[relax.Var]) -> dict[str, Frame]:
        """Return the frames of all tensors that share memory."""
        spans: dict[str, list[tuple[list[int], list[int]]]] = {}
        for var in padded:
            before = [first for first, _ in self._graph.paddings[var.name]]
            ends = [size - own for size, own in zip(shape_of(var), before, strict=True)]
            spans.setdefault(self._root(self._padded[var.name])[0], []).append((before, ends))
        roots = {self._root(name)[0] for name in (*self._whole, *self._padded.values())}
        frames: dict[str, Frame] = {}
        for root in roots:
            size = shape_of(self._made[root])
            before = [
                max(sizes)
                for sizes in zip([0] * len(size), *(b for b, _ in spans.get(root, [])), strict=True)
            ]
            ends = [
                max(sizes) for sizes in zip(size, *(e for _, e in spans.get(root, [])), strict=True)
            ]
            ends[CHANNELS] = size[CHANNELS]
            shape = tuple(b + end for b, end in zip(before, ends, strict=True))
            for member in self._members(root):
                begin = list(before)
                begin[CHANNELS] = self._root(member)[1]
                frames[member] = Frame(root, shape, tuple(begin))
        for var in padded:
            inside = frames[self._padded[var.name]]
            own = [first for first, _ in self._graph.paddings[var.name]]
            begin = [first - size for first, size in zip(inside.begin, own, strict=True)]
            frames[var.name] = Frame(inside.memory, inside.shape, tuple(begin))
        return frames


def _same_type(one: relax.Var, other: relax.Var) -> bool:
    return str(one.ty.dtype) == str(other.ty.dtype)


def _itemsize(tensor: relax.Var) -> int:
    return int(np.dtype(str(tensor.ty.dtype)).itemsize)
