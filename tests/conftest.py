"""Being here puts this folder on the path, so that tests can import `samples`."""

import pytest
import torch
from hypothesis import settings

# A run repeats the one before, and may be slow; `--hypothesis-profile=default` draws afresh.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Weights that a test does not seed repeat too, before any fixture draws some."""
    torch.manual_seed(0)
