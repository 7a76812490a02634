"""Handwritten digits that come with scikit-learn: real data that needs no download.

`python -m edgeconv.digits FILE.npz` writes the test part, as `edgeconv verify --data` takes it.

The optical recognition of handwritten digits set, UCI Machine Learning Repository (Alpaydin and
Kaynak, 1998), in scikit-learn's copy: 1797 pictures.
"""

from __future__ import annotations

import sys
from typing import Literal

import numpy as np
import numpy.typing as npt

TEST_IMAGES = 360


def load(
    part: Literal["train", "test"],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return pictures (N, 1, 8, 8), from 0 for the ground to 1 for ink, and their digits (N,).

    The parts, 1437 and 360 pictures, are drawn once for all: they are the same everywhere.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    chosen = order[:TEST_IMAGES] if part == "test" else order[TEST_IMAGES:]
    images = pixels[chosen].astype(np.float32).reshape(-1, 1, 8, 8) / np.float32(16)
    return images, labels[chosen].astype(np.int64)


def main() -> None:
    """Write the test part: the pictures as `image`, their digits as `labels`."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m edgeconv.digits FILE.npz")
    images, labels = load("test")
    np.savez(sys.argv[1], image=images, labels=labels)


if __name__ == "__main__":
    main()
