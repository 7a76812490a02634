"""Taps that read nothing but padding, which a convolution leaves out, and the zeros with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import product
from typing import Any

from tvm import tirx

from edgeconv.compiler.compute.window import Window

# The annotation of a block that holds the axes of a convolution.
SKIPS = "skips"


@dataclass(frozen=True)
class Skip:
    """A spatial axis whose outputs leave taps out: a run of neighbours together.

    Attributes:
        extent: of the input, without padding.
        outputs: of the output.
        taps: of the kernel.
        stride: of the window.
        dilation: of the window.
        before: padding.
        run: outputs that meet the same taps.
    """

    extent: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int
    run: int = 1

    def place(self, output: Any, tap: Any) -> Any:
        """Return the position in the input, below 0 or beyond `extent` where that is padding."""
        return output * self.stride + tap * self.dilation - self.before

    def span(self, output: Any, tap: Any) -> tuple[Any, Any]:
        """Return the first and the last position that the run from `output` reads."""
        first = self.place(output, tap)
        return first, first + (self.run - 1) * self.stride

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The spans of all runs and taps that meet the input."""
        starts = range(0, self.outputs, self.run)
        spans = (self.span(start, tap) for start, tap in product(starts, range(self.taps)))
        return [(first, last) for first, last in spans if last >= 0 and first < self.extent]

    @property
    def margins(self) -> tuple[int, int]:
        """The padding before and after that these spans reach into."""
        return (
            max([0, *(-first for first, _ in self.spans)]),
            max([0, *(last + 1 - self.extent for _, last in self.spans)]),
        )

    @property
    def runs(self) -> float:
        """How many runs a tap meets, on average."""
        return len(self.spans) / self.taps

    @property
    def met(self) -> int:
        """The taps that all outputs meet, where they are as many for each; else all taps."""
        counts = {self._met(output) for output in range(self.outputs)}
        return max(counts) if len(counts) == 1 and 0 not in counts else self.taps

    def first(self, output: Any) -> Any:
        """Return the first of the `met` taps of an output."""
        if self.met == self.taps:
            return 0
        return tirx.max(0, -((output * self.stride - self.before) // self.dilation))

    @property
    def leaves_some(self) -> bool:
        """Whether some of the `met` taps read nothing but padding."""
        return any(self._met(output) < self.met for output in range(self.outputs))

    def _met(self, output: int) -> int:
        places = [self.place(output, tap) for tap in range(self.taps)]
        return sum(0 <= place < self.extent for place in places)

    def encoded(self) -> list[tirx.IntImm]:
        """Return the axis as an annotation, which `decoded` reads."""
        return [tirx.IntImm("int32", value) for value in astuple(self)]


def skips_of(window: Window, image: Sequence[int], size: Sequence[int]) -> list[Skip]:
    """Return the axes of a convolution from an input of spatial shape `image` to one of `size`."""
    return [
        Skip(*axis)
        for axis in zip(
            image,
            size,
            window.kernel,
            window.stride,
            window.dilation,
            window.pad_before,
            strict=True,
        )
    ]


def met_taps(skips: Sequence[Skip], outputs: Sequence[Any], taps: Sequence[Any]) -> list[Any]:
    """Return which of the kernel's taps the `met` ones are that outputs count; all without axes."""
    if not skips:
        return list(taps)
    counted = zip(skips, outputs, taps, strict=True)
    return [skip.first(output) + tap for skip, output, tap in counted]


def decoded(annotation: Sequence[Sequence[Any]]) -> list[Skip]:
    """Return the axes that an annotation holds."""
    return [Skip(*(int(value) for value in axis)) for axis in annotation]
