"""The worker protocol and the turns, with ONNX Runtime on a network of four nodes."""

import dataclasses

import numpy as np
import onnx
import pytest
import samples

from benchmarks import compare, process
from benchmarks.case import Case
from benchmarks.process import KilledError, PeerError, Process


def make_case(folder, scale=1.0):
    folder.mkdir()
    onnx.save(samples.onnx_model(), folder / "model.onnx")
    x = np.linspace(-1, 1, int(np.prod(samples.SHAPE)), dtype=np.float32).reshape(samples.SHAPE)
    y = np.maximum(2 * x, 0) * np.float32(scale)
    total = y.sum(dtype=np.float64, keepdims=True).astype(np.float32).reshape(1)
    np.savez(folder / "golden.npz", input_0=x, output_0=y, output_1=total)
    case = Case(
        name="sample",
        source="layer:sample",
        family="network",
        macs=1000,
        inputs=("x",),
        outputs=("y", "z"),
        tolerances=(1e-6, 1e-6),
        compile_s=1.0,
        compiled_cold=True,
        key="key",
        folder=folder,
    )
    case.save()
    return case


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "BUILD", tmp_path / "build")
    return make_case(tmp_path / "case")


def test_a_case_is_read_as_it_was_written(case):
    assert Case.load(case.folder) == case


def test_a_worker_answers_until_it_is_ended(case, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with Process("onnxruntime", case.folder, folder) as worker:
        with pytest.raises(PeerError, match="nothing is loaded"):
            worker.ask(60, do="run", count=1)
        answer = worker.ask(60, do="convert")
        assert answer["seconds"] > 0
        assert answer["version"].count(".") == 2
        assert (folder / "model.onnx").read_bytes() == case.onnx.read_bytes()
        answer = worker.ask(60, do="load", threads=1)
        assert len(answer["errors"]) == 2
        assert max(answer["errors"]) < 1e-6
        times = worker.ask(60, do="run", count=4)["ms"]
        assert len(times) == 4
        assert min(times) > 0
        assert worker.ask(60, do="memory")["peak_bytes"] > 1 << 20
        with pytest.raises(PeerError, match="unknown command"):
            worker.ask(60, do="dance")


def test_a_worker_that_dies_says_how(case, tmp_path):
    with Process("onnxruntime", case.folder, tmp_path / "nothing") as worker:
        worker.ask(60, do="convert")
        worker._process.kill()
        with pytest.raises(KilledError, match="SIGKILL"):
            worker.ask(60, do="load", threads=1)


def test_a_worker_that_does_not_answer_is_ended(case, tmp_path):
    with Process("onnxruntime", case.folder, tmp_path / "nothing") as worker:
        with pytest.raises(PeerError, match="did not answer within 0 s"):
            worker.ask(0.0, do="convert")
        assert worker._process.wait(60) < 0


def test_peers_take_turns(case):
    result = compare.compare(case, ["onnxruntime"], threads=1, seconds=0.05)
    measured = result.peers["onnxruntime"]
    assert (measured.status, measured.reason) == ("ok", "")
    assert measured.runs >= compare.ROUNDS
    assert measured.times.min_ms <= measured.times.median_ms <= measured.times.p90_ms
    assert measured.error < 1e-6
    assert measured.model_bytes == case.onnx.stat().st_size
    assert measured.peak_bytes > 1 << 20


def test_wrong_outputs_are_never_a_time_to_beat(tmp_path, case):
    wrong = make_case(tmp_path / "wrong", scale=1.01)
    result = compare.compare(wrong, ["onnxruntime"], threads=1, seconds=0.01)
    measured = result.peers["onnxruntime"]
    assert measured.status == "wrong"
    assert measured.error == pytest.approx(0.01 / 1.01, rel=1e-3)
    result.peers[compare.OURS] = dataclasses.replace(measured, status="ok")
    assert result.ratios() == {}
    assert result.fastest() is None


def test_a_model_that_a_peer_cannot_take_is_refused_with_its_reason(case):
    case.onnx.unlink()
    with pytest.raises(OSError, match=r"model\.onnx"):  # the key of the conversion
        compare.converted(case, "onnxruntime")
    case.onnx.write_bytes(b"not a model")
    _, measured = compare.converted(case, "onnxruntime")
    assert measured.status == "ok"  # a copy; it fails when it is loaded
    result = compare.compare(case, ["onnxruntime"], threads=1, seconds=0.01)
    assert result.peers["onnxruntime"].status == "failed"
    assert "model.onnx" in result.peers["onnxruntime"].reason


def test_conversions_are_kept_until_the_model_changes(case, monkeypatch):
    first = compare.converted(case, "onnxruntime")
    monkeypatch.setattr(compare, "Process", None)  # no process may be started
    assert compare.converted(case, "onnxruntime") == first
    case.onnx.write_bytes(case.onnx.read_bytes() + b"\0")
    with pytest.raises(TypeError):
        compare.converted(case, "onnxruntime")


def test_a_conversion_that_somebody_ends_is_tried_again(case, monkeypatch):
    def killed(*_args, **_command):
        raise KilledError("its process ended with SIGKILL: ")

    with monkeypatch.context() as patch:
        patch.setattr(Process, "ask", killed)
        assert compare.converted(case, "onnxruntime")[1].status == "failed"
    assert compare.converted(case, "onnxruntime")[1].status == "ok"


def test_slow_peers_are_run_few_times():
    assert compare.plan(0.001, 1.0) == (compare.ROUNDS, 200)
    assert compare.plan(1e-6, 1.0) == (compare.ROUNDS, 300)
    assert compare.plan(0.4, 1.0) == (2, 1)
    assert compare.plan(2.9, 1.0) == (2, 1)
    assert compare.plan(60.0, 1.0) == (0, 1)


def test_peers_with_packages_have_an_environment_of_their_own(monkeypatch):
    assert process.interpreter("onnxruntime").is_file()
    monkeypatch.setattr(
        "benchmarks.peers.onnxruntime.OnnxRuntime.packages", ("onnxruntime==1.32.0",)
    )
    found = process.interpreter("onnxruntime")
    assert found == process.ENVIRONMENTS / "onnxruntime" / "bin" / "python"
