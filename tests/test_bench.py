"""Bench reports; the runner is a stand-in whose runs take 1.00, 1.01, ... ms (see fake_runner)."""

import dataclasses
import os

import pytest
import samples

from edgeconv.bench import EMULATED, bench
from edgeconv.errors import UsageError
from edgeconv.target import Emulator, load_target


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


def test_times_are_those_of_the_runs():
    report = bench(samples.make_artifact(), repeat=11, threads=1)
    assert report.times.min_ms == 1.0
    assert report.times.median_ms == pytest.approx(1.05)
    assert report.times.p90_ms == pytest.approx(1.09)
    assert (report.load_ms, report.peak_rss_bytes, report.threads) == (1.5, 1 << 20, 1)
    assert report.notes == ()
    data = report.to_json()
    assert data["median_ms"] == report.times.median_ms
    assert (data["device"], data["against"], data["repeat"]) == ("local", None, 11)


def test_a_busy_machine_is_noticed(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (999.0, 0.0, 0.0))
    report = bench(samples.make_artifact(), repeat=2, threads=100)
    assert "busy machine: load average 999.0" in report.notes[0]
    assert "100 threads share" in report.notes[1]
    spread = bench(samples.make_artifact(), repeat=200, threads=1)  # up to 2.99 ms
    assert "the 90th percentile is 2.8 times the minimum" in spread.notes[-1]


def test_against_onnx_runtime():
    report = bench(
        samples.make_artifact(),
        threads=1,
        repeat=12,
        against="onnxruntime",
        model=samples.onnx_model(),
    )
    assert report.times.min_ms == 1.0
    assert report.times.p90_ms < 1.03  # rounds of two and three runs: short series alternate
    rival = report.against
    assert rival.name == "onnxruntime"
    assert rival.version.count(".") == 2
    assert 0 < rival.times.min_ms <= rival.times.median_ms <= rival.times.p90_ms
    assert rival.speedup == pytest.approx(rival.times.median_ms / report.times.median_ms)
    assert report.to_json()["against"]["median_ms"] == rival.times.median_ms


def test_emulated_times_are_labelled_and_not_compared(tmp_path, monkeypatch):
    emulator = tmp_path / "qemu-fake"
    emulator.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    emulator.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    target = dataclasses.replace(load_target("rasp4"), emulator=Emulator("qemu-fake", "x"))
    artifact = samples.make_artifact(target=target)
    report = bench(artifact, device="emulator", repeat=2)
    assert report.notes == (EMULATED,)
    assert report.to_json()["emulated"] is True
    with pytest.raises(UsageError, match="emulated, not a speed"):
        bench(artifact, device="emulator", against="onnxruntime")


def test_senseless_requests():
    artifact = samples.make_artifact()
    with pytest.raises(UsageError, match="onnxruntime"):
        bench(artifact, against="tflite")
    with pytest.raises(UsageError, match="this machine only"):
        bench(artifact, device="ssh://pi@board", against="onnxruntime")
    with pytest.raises(UsageError, match="repeat"):
        bench(artifact, repeat=0)
    with pytest.raises(UsageError, match="pass the model"):
        bench(artifact, against="onnxruntime")
