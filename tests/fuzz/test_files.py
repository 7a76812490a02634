"""A bounded run of the fuzzer of files, and that it sees what it looks for."""

import sys
from dataclasses import replace
from random import Random

import pytest

from fuzz import file_kinds, file_worker, files, mutate

# A worker's start takes most of the time.
CASES = {
    "edge": 150,
    "folder": 40,
    "tar": 300,
    "onnx": 30,
    "ts": 30,
    "pt2": 20,
    "pt": 40,
    "pth": 40,
}


@pytest.mark.parametrize("kind", file_kinds.KINDS)
def test_damaged_files_are_taken_or_refused(kind: str) -> None:
    outcomes, failures = files.run_files(kind, seed=0, count=CASES[kind], seconds=30)
    assert failures == []
    assert sum(outcomes.values()) > 5
    assert sum(outcomes.values()) > outcomes["ok"]


def damaging(monkeypatch: pytest.MonkeyPatch, kind: str, **parts: object) -> None:
    monkeypatch.setitem(file_kinds.KINDS, kind, replace(file_kinds.KINDS[kind], **parts))


def test_code_that_runs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    damaging(monkeypatch, "pth", damage=lambda whole, draw, payload: payload)
    outcome = file_worker.run_case("pth", b"", {"allow_pickle": True}, 0)
    assert outcome.startswith("FAILED: code ran: True")
    assert file_worker.run_case("pth", b"", {}, 0) == "UnsupportedModelError"


def test_other_exceptions_and_dying_processes_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path, options):
        raise ValueError("surprise")

    damaging(monkeypatch, "edge", damage=lambda *_arguments: b"", use=fail)
    assert "surprise" in file_worker.run_case("edge", b"", {}, 0)
    with pytest.raises(RuntimeError, match="did not start"):
        files.run_files("no such kind", seed=7, count=1)
    dying = "import os; print('ready', flush=True); os.abort()"
    monkeypatch.setattr(files, "WORKER", (sys.executable, "-c", dying))
    _, failures = files.run_files("edge", seed=7, count=1)
    assert failures == ["edge seed 7: FAILED: ended the process: -6"]


def test_a_runner_that_fails_in_its_own_way_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    damaging(monkeypatch, "folder", damage=lambda whole, *_: whole)
    whole = mutate.zipped([("weights.bin", b"")], Random(0))
    assert "FAILED: AssertionError" in file_worker.run_case("folder", whole, {"runner": "false"}, 0)
