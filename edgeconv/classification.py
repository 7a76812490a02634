"""Class scores to named classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError


@dataclass(frozen=True)
class Guess:
    """One class that a network sees: its index, name ("" where it has none), probability."""

    index: int
    label: str
    probability: float


def top_classes(
    scores: npt.NDArray[Any], labels: Sequence[str] = (), count: int = 5
) -> list[list[Guess]]:
    """Return the `count` likeliest classes of every row of `scores`, likeliest first.

    `scores` is (N, classes), either logits, which go through a softmax, or probabilities already.
    Raises UsageError for another number of dimensions.
    """
    _check_scores(scores)
    rows = probabilities(scores)
    order = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    return [
        [Guess(int(i), labels[i] if i < len(labels) else "", float(row[i])) for i in best]
        for row, best in zip(rows, order, strict=True)
    ]


def top1_accuracy(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Return the share of rows of `scores` (N, classes) that are largest at their label.

    Raises UsageError where `labels` are no N class indices, or `scores` of another rank.
    """
    _check_scores(scores)
    count, classes = scores.shape
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UsageError(
            f"labels: expected {count} class indices, found {labels.dtype} {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise UsageError(
            f"labels: from {labels.min()} to {labels.max()}, but the network has {classes} classes"
        )
    return float(np.mean(scores.argmax(axis=1) == labels))


def probabilities(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the softmax over the last axis, or `scores` where its rows are probabilities."""
    rows = scores.astype(np.float64)
    if rows.min() >= 0 and np.allclose(rows.sum(axis=-1), 1, atol=1e-3):
        return rows
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    result: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _check_scores(scores: npt.NDArray[Any]) -> None:
    if scores.ndim != 2:
        raise UsageError(
            f"the network is no classifier: its first output is {list(scores.shape)}, "
            "class scores are [N, classes]"
        )
