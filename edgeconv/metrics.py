"""How far an array is from its reference."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UsageError


@dataclass(frozen=True)
class Metrics:
    """Distance of an array from its reference.

    Not-a-number at the same places, and equal infinities, count as equal. An error that is itself
    not a number makes every metric but `top1` not a number.

    Attributes:
        max_abs: max |got - want|.
        max_rel: max |got - want| / max |want| over the finite values of want; tolerances bound it.
        sqnr_db: 10 log10 (signal energy / error energy); infinite where nothing differs.
        cosine: of the angle between the two; 1 where nothing differs.
        top1: share of rows whose largest value is at the same place; None where the array is no
            matrix of (samples, classes).
    """

    max_abs: float
    max_rel: float
    sqnr_db: float
    cosine: float
    top1: float | None = None

    def within(self, tolerance: float) -> bool:
        """Tell whether `max_rel` is a number of at most `tolerance`."""
        return self.max_rel <= tolerance

    def to_json(self) -> dict[str, Any]:
        """Return a dict; values that JSON lacks are the strings "nan", "inf", "-inf"."""
        return {key: json_number(value) for key, value in asdict(self).items()}


def compare(got: NDArray[Any], want: NDArray[Any]) -> Metrics:
    """Return the metrics of `got` against `want`; raises UsageError where the shapes differ."""
    if got.shape != want.shape:
        raise UsageError(f"cannot compare shape {got.shape} with {want.shape}.")
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    same = (np.isnan(a) & np.isnan(b)) | (np.isinf(a) & (a == b))
    a, b = a[~same], b[~same]
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(a - b)
        max_abs = float(error.max(initial=0.0))
        largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
        noise, signal = float(error @ error), float(b @ b)
        norms = math.sqrt(float(a @ a)) * math.sqrt(signal)
        product = float(a @ b)
    equal = max_abs == 0
    return Metrics(
        max_abs=max_abs,
        max_rel=_ratio(max_abs, largest),
        sqnr_db=math.inf if equal else _decibel(_ratio(signal, noise)),
        cosine=1.0 if equal else (product / norms if norms else 0.0),
        top1=_top1(got, want),
    )


def json_number(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it: "nan", "inf" and "-inf" are strings."""
    return value if value is None or math.isfinite(value) else str(value)


def _ratio(numerator: float, denominator: float) -> float:
    if denominator or math.isnan(numerator):
        return numerator / denominator if denominator else math.nan
    return math.inf if numerator else 0.0


def _decibel(ratio: float) -> float:
    return 10 * math.log10(ratio) if ratio > 0 else (-math.inf if ratio == 0 else math.nan)


def _top1(got: NDArray[Any], want: NDArray[Any]) -> float | None:
    if want.ndim != 2 or min(want.shape) < 1 or want.shape[1] < 2:
        return None
    return float(np.mean(got.argmax(axis=1) == want.argmax(axis=1)))
