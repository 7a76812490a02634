"""In which precision a network's tensors are stored and computed."""

from __future__ import annotations

import enum


class Precision(enum.StrEnum):
    """How tensors between kernels, and weights, are stored; kernels compute in single precision.

    `FP32`: in single precision. `FP16`: in half precision. `MIXED`: in half precision, but for
    values that half precision cannot hold well.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    MIXED = "mixed"
