"""What a runner says about a run: its JSON object, checked and typed."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from edgeconv.strict import MismatchError, read

_METRICS = ("max_abs", "max_rel", "sqnr_db", "cosine")


@dataclass(frozen=True)
class StepTime:
    """Times of one step, milliseconds, one for each run."""

    name: str
    family: str
    ms: tuple[float, ...]


@dataclass(frozen=True)
class OutputCheck:
    """The self-test's verdict on one output of one golden case."""

    name: str
    max_abs: float
    max_rel: float
    sqnr_db: float
    cosine: float
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class CaseCheck:
    """The self-test's verdict on one golden case."""

    case: int
    outputs: tuple[OutputCheck, ...]


@dataclass(frozen=True)
class SelfTest:
    """The runner's own comparison with the golden outputs."""

    passed: bool
    cases: tuple[CaseCheck, ...]


@dataclass(frozen=True)
class RunnerReport:
    """The runner's JSON object; times in milliseconds, sizes in bytes.

    `device` is the GPU's name and driver, "" for the processor.
    """

    model: str
    target: str
    api: int
    threads: int
    load_ms: float
    arena_bytes: int
    weights_bytes: int
    peak_rss_bytes: int
    runs_ms: tuple[float, ...]
    device: str = ""
    steps: tuple[StepTime, ...] = ()
    self_test: SelfTest | None = None


def parse_report(text: bytes) -> RunnerReport:
    """Return the report in a runner's output; raises ValueError where there is none.

    Keys that are not known are left out: a newer runner may say more.
    """
    data = json.loads(text)
    if not isinstance(data, dict):
        raise MismatchError("", "expected one JSON object")
    known = {field.name for field in fields(RunnerReport)}
    data = {key: value for key, value in data.items() if key in known}
    if isinstance(data.get("self_test"), dict):
        data["self_test"] = _numbers(data["self_test"])
    return read(RunnerReport, data)


def _numbers(data: Any) -> Any:
    """Turn the strings "nan", "inf" and "-inf" of metrics into numbers."""
    if isinstance(data, list):
        return [_numbers(item) for item in data]
    if isinstance(data, dict):
        return {
            key: float(value)
            if key in _METRICS and value in ("nan", "inf", "-inf")
            else _numbers(value)
            for key, value in data.items()
        }
    return data
