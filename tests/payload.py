"""A pickle that leaves a mark when an unpickler that runs code loads it."""

from pathlib import Path


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.mark,))
