"""The benchmark of GPUs: both sides run the network, rightly, and what is wrong is not timed."""

from dataclasses import replace
from math import inf
from types import SimpleNamespace

import pytest
import torch

import edgeconv
from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu import traffic
from benchmarks.gpu.compare import _turn, compare
from edgeconv.devices.session import Session
from edgeconv.traffic import TRAFFIC


@pytest.fixture(scope="module")
def measured():
    return compare("zoo:dcgan_decoder/tiny", "mali-g610", seconds=0, winograd=True)


def test_both_are_right_and_timed(measured):
    *both, driver = measured
    for side in both:
        assert side.reason == ""
        assert 0 < side.error < 1
        assert side.ms > 0
        assert side.moved >= side.needed > 0
        assert side.tiles == 0
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
    *both, _ = compare("zoo:dcgan_decoder/tiny", "mali-g610", seconds=0, winograd=True)
    for side in both:
        assert side.reason.startswith("wrong: ")
        assert side.ms == 0


@pytest.mark.parametrize(
    ("run_ms", "calls"),
    [(6e3, [(0, 1)]), (2e3, [(0, 1), (1, 1)]), (1e2, [(0, 1), (1, 10)]), (1, [(0, 1), (1, 200)])],
)
def test_a_run_of_seconds_is_not_repeated(run_ms, calls):
    made = []

    def bench(warmup, repeat):
        made.append((warmup, repeat))
        return SimpleNamespace(device="a driver", runs_ms=[run_ms] * repeat)

    device, times = _turn(SimpleNamespace(bench=bench), seconds=1)
    assert (device, made) == ("a driver", calls)
    assert times == [run_ms] * calls[-1][1]


def test_the_bytes_of_winograd_are_told_apart():
    torch.manual_seed(0)
    net = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(2))).eval()
    x = torch.randn(1, 64, 56, 56)
    plan = edgeconv.compile(net, (x,), target="mali-g610", traffic=inf).plan
    assert sum(step.family == traffic.WINOGRAD for step in plan.steps) == 4
    tiles = 2 * 2 * 2 * 64 * 14 * 14 * 36 * 4  # written and read, before and after, twice
    weights = 2 * 64 * 64 * (36 - 9) * 4
    assert traffic.by_tiles(plan) == tiles + weights
    assert traffic.moved(plan) - traffic.by_tiles(plan) == traffic.needed(plan)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("target", ["mali-g610", "adreno-660"])
def test_a_network_moves_no_more_than_it_may(target, precision):
    """The last layers have so many weights that the tiles of some of the others fit in."""
    layers = [torch.nn.Conv2d(128, 128, 3, padding=1) for _ in range(6)]
    ends = [torch.nn.Conv2d(128, 1024, 3, 2), torch.nn.Conv2d(1024, 2048, 3, 2)]
    net = torch.nn.Sequential(*layers, *ends).eval()
    x = torch.zeros(1, 128, 28, 28)

    def compiled(most):
        plan = edgeconv.compile(net, (x,), target=target, precision=precision, traffic=most).plan
        tiled = sum(step.family == traffic.WINOGRAD for step in plan.steps) // 2
        return tiled, traffic.moved(plan) / traffic.needed(plan)

    none, some, all_of_them = map(compiled, (1.0, TRAFFIC, inf))
    assert (none[0], all_of_them[0]) == (0, 6)
    assert 0 < some[0] < 6
    assert none[1] < 1.02 < some[1] < TRAFFIC < all_of_them[1]
