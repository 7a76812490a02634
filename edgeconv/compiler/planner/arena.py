"""Packs tensors with known lifetimes into one block of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True)
class Lifetime:
    """A tensor of `bytes` that is live from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Whether both are live at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Offsets by tensor, the block's size, and the size below which no plan can go."""

    offsets: dict[str, int]
    bytes: int
    lower_bound: int


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def plan_arena(lifetimes: Mapping[str, Lifetime]) -> Arena:
    """Give each tensor an offset at which no other live tensor lies.

    Greedy by size (Pisarchyk and Lee, 2020, arXiv:2001.03288): the largest tensor first, each at
    the lowest gap that holds it. The lower bound is the largest sum of bytes live at one step.
    """
    placed: list[tuple[str, int, Lifetime]] = []
    order = sorted(lifetimes.items(), key=lambda item: (-item[1].bytes, item[1].first, item[0]))
    for name, lifetime in order:
        neighbours = sorted(
            (offset, offset + _aligned(other.bytes))
            for _, offset, other in placed
            if other.overlaps(lifetime)
        )
        offset = 0
        for start, end in neighbours:
            if offset + lifetime.bytes <= start:
                break
            offset = max(offset, end)
        placed.append((name, offset, lifetime))
    steps = range(max((life.last for life in lifetimes.values()), default=-1) + 1)
    return Arena(
        offsets={name: offset for name, offset, _ in placed},
        bytes=max((offset + _aligned(life.bytes) for _, offset, life in placed), default=0),
        lower_bound=max(
            (
                sum(_aligned(life.bytes) for life in lifetimes.values() if _live(life, step))
                for step in steps
            ),
            default=0,
        ),
    )


def _live(lifetime: Lifetime, step: int) -> bool:
    return lifetime.first <= step <= lifetime.last
