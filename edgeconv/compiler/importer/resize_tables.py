"""Where each output of a resized axis lies in the input, and what it takes from its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

# In float32, as ONNX Runtime computes them: rounding decides at which side of a tie one lands.
Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]

_ROUNDING: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@dataclass(frozen=True)
class Resized:
    """One axis of a Resize.

    Attributes:
        size: extent of the input.
        length: extent of the output.
        scale: the given scale, which `length` may round.
        coordinates: ONNX's coordinate_transformation_mode.
        region: begin and end of the part that tf_crop_and_resize takes, in units of the input.
    """

    size: int
    length: int
    scale: float
    coordinates: str
    region: tuple[float, float]

    @property
    def is_identity(self) -> bool:
        """Whether the output is the input."""
        cropped = self.coordinates == "tf_crop_and_resize" and self.region != (0.0, 1.0)
        return self.size == self.length and self.scale == 1 and not cropped

    def positions(self) -> Floats:
        """Return where each output lies along the input."""
        scale, half = np.float32(self.scale), np.float32(0.5)
        output = np.arange(self.length, dtype=np.float32)
        last = np.float32(max(self.length - 1, 1))
        if self.coordinates == "align_corners":
            return (output * np.float32(self.size - 1) / last).astype(np.float32)
        if self.coordinates == "tf_crop_and_resize":
            begin, end = (np.float32(edge) for edge in self.region)
            step = (end - begin) * np.float32(self.size - 1)
            first = begin * np.float32(self.size - 1)
            if self.length == 1:
                return np.array([half * (begin + end) * np.float32(self.size - 1)], np.float32)
            return (first + output * step / last).astype(np.float32)
        if self.coordinates == "asymmetric":
            return (output / scale).astype(np.float32)
        if self.coordinates == "pytorch_half_pixel" and self.length == 1:
            return np.zeros(1, np.float32)
        shift = np.float32(0)
        if self.coordinates == "half_pixel_symmetric":
            shift = np.float32(self.size / 2 * (1 - self.length / (scale * self.size)))
        return (shift + (output + half) / scale - half).astype(np.float32)

    def outside(self) -> npt.NDArray[np.bool_]:
        """Return which outputs lie outside the input and take the extrapolation value."""
        if self.coordinates != "tf_crop_and_resize":
            return np.zeros(self.length, np.bool_)
        positions = self.positions()
        return (positions < 0) | (positions > self.size - 1)


def nearest(resized: Resized, mode: str) -> Positions:
    """Return the input position that each output takes."""
    rounded = _ROUNDING[mode](resized.positions())
    return np.clip(rounded, 0, resized.size - 1).astype(np.int32)


def weighted(
    resized: Resized, *, cubic: float | None, antialias: bool, exclude_outside: bool
) -> tuple[Positions, Floats]:
    """Return input positions and their weights, (outputs, taps), of interpolation.

    Args:
        resized: the axis.
        cubic: Keys' coefficient a (Keys, 1981) for cubic interpolation, None for linear.
        antialias: whether shrinking widens the kernel to cover every input.
        exclude_outside: whether positions outside the input count nothing; otherwise they
            repeat its ends.
    """
    shrink = min(resized.scale, 1.0) if antialias else 1.0
    reach = 1 if cubic is None else 2
    first = floor(-reach / shrink) + 1
    offsets = np.arange(first, 2 - first)
    positions = resized.positions()
    base = np.floor(positions)
    distances = np.abs(offsets - (positions - base)[:, None]) * shrink
    kernel = 1 - distances if cubic is None else _cubic(distances, cubic)
    weights = np.where(distances < reach, kernel, 0)
    taps = base[:, None].astype(np.int64) + offsets
    if exclude_outside:
        weights = np.where((taps >= 0) & (taps < resized.size), weights, 0)
    if antialias or exclude_outside:
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(taps, 0, resized.size - 1).astype(np.int32), weights.astype(np.float32)


def _cubic(distance: Floats, a: float) -> Floats:
    """Return Keys' cubic convolution kernel at distances below two."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    weights: Floats = np.where(distance <= 1, near, far)
    return weights
