"""What a configuration is drawn with: one seed, and a record of what was made."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Option = TypeVar("Option")
Layer = TypeVar("Layer", bound=nn.Module)


class Draw:
    """Random choices from one seed; `made` says which layers and inputs came out of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._normal = torch.Generator().manual_seed(seed)
        self.made: list[str] = []

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def integers(self, count: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.integer(low, high) for _ in range(count))

    def number(self, low: float, high: float) -> float:
        return round(self._random.uniform(low, high), 3)

    def choice(self, options: Sequence[Option]) -> Option:
        return self._random.choice(options)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def channels(self, most: int = 40) -> int:
        """Mostly no multiple of a block of 4, 8 or 16, sometimes exactly one."""
        if self.chance(0.3):
            return min(most, self.choice([1, 4, 8, 16, 32, 64]))
        return self.integer(1, most)

    def divisor(self, number: int) -> int:
        return self.choice([d for d in range(1, number + 1) if number % d == 0])

    def side(self, least: int = 1) -> int:
        """A side of an image: one pixel, narrow, or some tens."""
        low = max(1, least)
        most = self.choice([0, 4, 4, 24, 24, 60])
        return self.integer(low, low + most)

    def image(self, *shape: int) -> Tensor:
        """A standard normal input."""
        self.made.append(f"input {shape}")
        return torch.randn(shape, generator=self._normal)

    def make(self, kind: Callable[..., Layer], *args: Any, **kwargs: Any) -> Layer:
        """Return kind(*args, **kwargs), and note the call."""
        words = [repr(a) for a in args] + [f"{k}={_word(v)}" for k, v in kwargs.items()]
        self.made.append(f"{kind.__qualname__}({', '.join(words)})")
        return kind(*args, **kwargs)


def _word(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)
