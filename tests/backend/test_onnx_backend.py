"""The ONNX standard's own backend tests: every one passes, or does what `refusals.py` lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from onnx.backend.test import BackendTest
from refusals import DIFFERENT, REFUSALS, Refusal

from edgeconv import backend
from edgeconv.errors import UnsupportedModelError, UsageError

# Networks of hundreds of megabytes, which the tests download.
DOWNLOADS = "OnnxBackendRealModelTest"


Errors = tuple[type[Exception], ...]
REFUSED: Errors = (UnsupportedModelError, UsageError)
DISAGREES: Errors = (AssertionError,)


def raising(errors: Errors, test: Callable[..., None], listed: Refusal) -> Callable[[Any], None]:
    """Return a test that `test` ends with one of `errors`, for the listed reason."""

    def check(self: Any) -> None:
        with pytest.raises(errors, match=listed.message):
            test(self)

    return check


def collect() -> dict[str, type]:
    """Return the standard's test cases for the CPU, the listed ones turned round."""
    cases: dict[str, type] = BackendTest(backend, __name__).test_cases
    del cases[DOWNLOADS]
    for case in cases.values():
        for name in [name for name in vars(case) if name.startswith("test_")]:
            if not name.endswith("_cpu"):
                delattr(case, name)
                continue
            for table, errors in ((REFUSALS, REFUSED), (DIFFERENT, DISAGREES)):
                for listed in table:
                    if listed.matches(name):
                        setattr(case, name, raising(errors, getattr(case, name), listed))
    return cases


CASES = collect()
globals().update(CASES)


def test_everything_listed_matches_a_test() -> None:
    names = [name for case in CASES.values() for name in vars(case) if name.startswith("test_")]
    for refusal in (*REFUSALS, *DIFFERENT):
        for pattern in refusal.patterns:
            assert any(refusal.matches(name, pattern) for name in names), pattern


def test_no_test_is_listed_twice() -> None:
    names = [name for case in CASES.values() for name in vars(case) if name.startswith("test_")]
    for name in names:
        assert sum(listed.matches(name) for listed in (*REFUSALS, *DIFFERENT)) <= 1, name
