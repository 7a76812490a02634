"""A bounded run of the fuzzer of files, and that it sees what it looks for."""

import pytest

from fuzz import file_worker, files

# A worker's start takes most of the time.
CASES = {"edge": 150, "onnx": 30, "ts": 30, "pt2": 20, "pt": 40, "pth": 40}


@pytest.mark.parametrize("kind", file_worker.KINDS)
def test_damaged_files_are_taken_or_refused(kind: str) -> None:
    outcomes, failures = files.run_files(kind, seed=0, count=CASES[kind], seconds=30)
    assert failures == []
    assert sum(outcomes.values()) > 5
    assert sum(outcomes.values()) > outcomes["ok"]


def test_code_that_runs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_worker, "damage", lambda kind, whole, draw, payload: payload)
    outcome = file_worker.run_case("pth", b"", {"allow_pickle": True}, 0)
    assert outcome.startswith("FAILED: code ran: True")
    assert file_worker.run_case("pth", b"", {}, 0) == "UnsupportedModelError"


def test_other_exceptions_and_dying_processes_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path, options):
        raise ValueError("surprise")

    monkeypatch.setitem(file_worker.KINDS, "edge", (file_worker.write_artifact, fail))
    monkeypatch.setattr(file_worker, "damage", lambda *_arguments: b"")
    assert "surprise" in file_worker.run_case("edge", b"", {}, 0)
    _, failures = files.run_files("no such kind", seed=7, count=1)
    assert failures == ["no such kind seed 7: FAILED: ended the process: 1"]
