"""The benchmark of GPUs: both sides run the network, rightly, and what is wrong is not timed."""

from dataclasses import replace

import pytest

from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu.compare import compare
from edgeconv.devices.session import Session


@pytest.fixture(scope="module")
def measured():
    return compare("zoo:dcgan_decoder/tiny", "mali-g610", seconds=0)


def test_both_are_right_and_timed(measured):
    *both, driver = measured
    for side in both:
        assert side.reason == ""
        assert 0 < side.error < 1
        assert side.ms > 0
        assert side.moved >= side.needed > 0
        assert side.arena >= side.bound > 0
        assert side.kernels > side.layouts
    assert driver


def test_the_table_says_what_was_measured(measured):
    ours, theirs, driver = measured
    entry = {"case": "net", "target": "mali-g610", "driver": driver}
    entry |= {"edgeconv": vars(ours), "dlight": vars(theirs)}
    row = benchmark._row(entry)
    assert len(row) == len(benchmark._HEAD)
    assert row[1] == str(ours.kernels)
    assert row[-1] == f"{theirs.ms / ours.ms:.2f}"
    assert "ahead in" in benchmark._notes([entry])


def test_what_is_wrong_has_no_time(monkeypatch):
    right = Session.self_test
    monkeypatch.setattr(Session, "self_test", lambda session: replace(right(session), passed=False))
    *both, _ = compare("zoo:dcgan_decoder/tiny", "mali-g610", seconds=0)
    for side in both:
        assert side.reason.startswith("wrong: ")
        assert side.ms == 0
