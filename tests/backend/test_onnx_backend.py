"""The ONNX standard's own backend tests: every one passes, or is refused for a listed reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from onnx.backend.test import BackendTest
from refusals import DIFFERENT, REFUSALS, UNFINISHED, Refusal

from edgeconv import backend
from edgeconv.errors import UnsupportedModelError, UsageError

# Networks of hundreds of megabytes, which the tests download.
DOWNLOADS = "OnnxBackendRealModelTest"


def refused(test: Callable[..., None], refusal: Refusal) -> Callable[[Any], None]:
    """Return a test that `test` is refused for the listed reason."""

    def check(self: Any) -> None:
        with pytest.raises((UnsupportedModelError, UsageError), match=refusal.message):
            test(self)

    return check


def collect() -> dict[str, type]:
    """Return the standard's test cases for the CPU, those in `REFUSALS` turned round."""
    cases: dict[str, type] = BackendTest(backend, __name__).test_cases
    del cases[DOWNLOADS]
    for case in cases.values():
        for name in [name for name in vars(case) if name.startswith("test_")]:
            listed = [refusal for refusal in REFUSALS if refusal.matches(name)]
            left_out = UNFINISHED.matches(name) or DIFFERENT.matches(name)
            if not name.endswith("_cpu") or left_out:
                delattr(case, name)
            elif listed:
                setattr(case, name, refused(getattr(case, name), listed[0]))
    return cases


CASES = collect()
globals().update(CASES)


def test_every_refusal_matches_a_test() -> None:
    names = [name for case in CASES.values() for name in vars(case) if name.startswith("test_")]
    for refusal in REFUSALS:
        for pattern in refusal.patterns:
            assert any(refusal.matches(name, pattern) for name in names), pattern


def test_no_test_is_listed_twice() -> None:
    names = [name for case in CASES.values() for name in vars(case) if name.startswith("test_")]
    for name in names:
        assert sum(refusal.matches(name) for refusal in REFUSALS) <= 1, name
