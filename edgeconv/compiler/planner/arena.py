"""Packs tensors with known lifetimes into one block of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeconv.compiler.schedules.machine import round_up

# Changes of an order that are tried in a row without a smaller arena.
PATIENCE = 32


@dataclass(frozen=True)
class Lifetime:
    """A tensor of `bytes` that is live from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int

    @property
    def steps(self) -> int:
        """For how many steps it is live."""
        return self.last - self.first + 1

    def overlaps(self, other: Lifetime) -> bool:
        """Whether both are live at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Offsets by tensor, the block's size, and the size below which no plan can go."""

    offsets: dict[str, int]
    bytes: int
    lower_bound: int


def plan_arena(lifetimes: Mapping[str, Lifetime], alignment: int) -> Arena:
    """Give each tensor an offset, a multiple of `alignment`, at which no other live tensor lies.

    Greedy by size (Pisarchyk and Lee, 2020, arXiv:2001.03288): the largest tensor first, each at
    the lowest gap that holds it. While the arena is larger than its lower bound, the largest sum of
    bytes live at one step, the tensor that ends last in it is placed first instead. Where that
    never reaches the bound, other orders to start from have their turn.
    """
    lifetimes = {
        name: replace(life, bytes=round_up(life.bytes, alignment))
        for name, life in lifetimes.items()
    }
    neighbours = _neighbours(lifetimes)
    bound = _lower_bound(lifetimes)
    best: dict[str, int] = {}
    size: int | None = None
    for order in _orders(lifetimes, neighbours):
        offsets, end = _improved(order, lifetimes, neighbours, bound)
        if size is None or end < size:
            best, size = offsets, end
        if size == bound:
            break
    return Arena(offsets=best, bytes=size or 0, lower_bound=bound)


def _orders(
    lifetimes: Mapping[str, Lifetime], neighbours: Mapping[str, Sequence[str]]
) -> Iterator[list[str]]:
    """Yield the tensors, hardest to place first, by each measure of what makes one hard to place.

    These are its bytes, for how long they are taken, the bytes that are live together with it, and
    for how many steps it is live.
    """

    def size(name: str) -> int:
        return lifetimes[name].bytes

    def taken(name: str) -> int:
        return lifetimes[name].bytes * lifetimes[name].steps

    def rivals(name: str) -> int:
        return sum(lifetimes[other].bytes for other in [name, *neighbours[name]])

    def steps(name: str) -> int:
        return lifetimes[name].steps

    by_size = sorted(lifetimes, key=lambda name: (-size(name), lifetimes[name].first, name))
    for measure in (size, taken, rivals, steps):
        yield sorted(by_size, key=measure, reverse=True)


def _improved(
    order: list[str],
    lifetimes: Mapping[str, Lifetime],
    neighbours: Mapping[str, Sequence[str]],
    bound: int,
) -> tuple[dict[str, int], int]:
    """Place tensors, first in this order, then with the one that ends last moved to its front.

    Returns the best offsets, and the end of the last tensor.
    """
    best, size = _place(order, lifetimes, neighbours)
    offsets, patience = best, PATIENCE
    while size > bound and patience > 0:
        last = max(order, key=lambda name: offsets[name] + lifetimes[name].bytes)
        order = [last, *(name for name in order if name != last)]
        offsets, end = _place(order, lifetimes, neighbours)
        patience -= 1
        if end < size:
            best, size, patience = offsets, end, PATIENCE
    return best, size


def _place(
    order: Sequence[str],
    lifetimes: Mapping[str, Lifetime],
    neighbours: Mapping[str, Sequence[str]],
) -> tuple[dict[str, int], int]:
    """Place tensors in this order, each at the lowest gap among those that are live with it.

    Returns the offsets and the end of the last tensor.
    """
    offsets: dict[str, int] = {}
    size = 0
    for name in order:
        taken = sorted(
            (offsets[other], offsets[other] + lifetimes[other].bytes)
            for other in neighbours[name]
            if other in offsets
        )
        offset = 0
        for start, end in taken:
            if offset + lifetimes[name].bytes <= start:
                break
            offset = max(offset, end)
        offsets[name] = offset
        size = max(size, offset + lifetimes[name].bytes)
    return offsets, size


def _neighbours(lifetimes: Mapping[str, Lifetime]) -> dict[str, list[str]]:
    """Return the tensors that are live together with each."""
    return {
        name: [
            other
            for other, life in lifetimes.items()
            if other != name and life.overlaps(lifetimes[name])
        ]
        for name in lifetimes
    }


def _lower_bound(lifetimes: Mapping[str, Lifetime]) -> int:
    """Return the largest sum of bytes live at one step."""
    steps = max((life.last + 1 for life in lifetimes.values()), default=0)
    live = [0] * steps
    for life in lifetimes.values():
        for step in range(life.first, life.last + 1):
            live[step] += life.bytes
    return max(live, default=0)
