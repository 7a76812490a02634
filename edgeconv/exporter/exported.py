"""`Exported`: an ONNX model, and what it must compute."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt
import onnx

from edgeconv.errors import UnsupportedModelError
from edgeconv.imaging import Preprocessing
from edgeconv.plan import HalfRun
from edgeconv.precision import Precision


@dataclass(frozen=True)
class GoldenCase:
    """Inputs by name, and the outputs by name that the original program gave for them.

    `label` says what the inputs are, such as "seed 1" or a photograph's name.
    """

    label: str
    inputs: dict[str, npt.NDArray[Any]]
    outputs: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Exported:
    """A checked ONNX model with golden cases.

    Attributes:
        name: short, fit for a file name.
        origin: what the user gave, without folders.
        model: static shapes, every value's shape and dtype known, no metadata.
        golden: at least one case.
        preprocessing: how photographs become the input; None where that is not known.
        labels: class names by class index; empty where there are none.
    """

    name: str
    origin: str
    model: onnx.ModelProto
    golden: tuple[GoldenCase, ...]
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of `model_bytes(self.model)`, in hexadecimal."""
        return hashlib.sha256(model_bytes(self.model)).hexdigest()

    @cached_property
    def tolerances(self) -> dict[str, float]:
        """Return the largest permitted max |got - want| / max |want| by output name."""
        return self._measured(Precision.FP32, {})

    def tolerances_in(
        self, precision: Precision, half_runs: Mapping[str, HalfRun]
    ) -> dict[str, float]:
        """Return the same for tensors stored in `precision`, and `Plan.half_runs`."""
        if precision is Precision.FP32:
            return self.tolerances
        return self._measured(precision, half_runs)

    def _measured(self, precision: Precision, half_runs: Mapping[str, HalfRun]) -> dict[str, float]:
        from edgeconv.exporter.tolerance import tolerance

        cases = [case.inputs for case in self.golden]
        return tolerance(self.model, cases, precision, half_runs)


def model_bytes(model: onnx.ModelProto) -> bytes:
    """Serialise a model; equal models give equal bytes.

    Raises:
        UnsupportedModelError: it is larger than 2 GiB, the most that the format holds.
    """
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:
        # protobuf's back ends raise different classes for a message that is too large.
        raise UnsupportedModelError(f"the ONNX model cannot be serialised: {error}") from error
    return data
