"""Verification of a hand-made network, whose runner is a stand-in (see fake_runner)."""

import dataclasses
import hashlib
import sys

import numpy as np
import onnx
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.artifact import golden_entries
from edgeconv.errors import NumericError, ToolchainError, UsageError
from edgeconv.plan import Buffer, Space
from edgeconv.target import Emulator, load_target
from edgeconv.verify import VerifyReport, unpack_layout, verify


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return samples.onnx_model()


def test_golden_cases_pass_and_say_where():
    report = verify(samples.make_artifact())
    assert report.passed
    report.raise_if_failed()
    assert [(r.case, r.name) for r in report.outputs] == [
        (case, name) for case in ("zero", "one") for name in ("y", "z")
    ]
    assert all(result.self_test for result in report.outputs)
    data = report.to_json()
    assert (data["device"], data["emulated"], data["passed"]) == ("local", False, True)
    assert data["outputs"][0]["tolerance"] == 1e-6
    assert data["outputs"][0]["sqnr_db"] == "inf"
    assert data["steps"] is None


def test_an_emulator_is_named(tmp_path, monkeypatch):
    emulator = tmp_path / "qemu-fake"
    emulator.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    emulator.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    target = dataclasses.replace(
        load_target("rasp4"), native=False, emulator=Emulator("qemu-fake", "cortex-a72")
    )
    report = verify(samples.make_artifact(target=target))
    assert report.passed
    assert report.emulated
    assert "qemu-fake -cpu cortex-a72" in report.to_json()["device_description"]


def test_wrong_outputs_fail():
    report = verify(samples.make_artifact(fault="wrong"))
    assert not report.passed
    assert report.outputs[0].metrics.max_rel == pytest.approx(0.5)
    with pytest.raises(NumericError, match=r"case 'zero', output 'y': error 0\.5.*--per-layer"):
        report.raise_if_failed()


def test_a_self_test_that_sees_nothing_is_found():
    report = verify(samples.make_artifact(fault="blind"))
    assert not report.passed
    with pytest.raises(NumericError, match="the runner's self-test passed, the comparison here"):
        report.raise_if_failed()


def test_a_report_without_checks_has_not_passed():
    nothing = VerifyReport("m", "t", "local", "this machine", False, ())
    assert not nothing.passed
    with pytest.raises(NumericError, match="nothing was compared"):
        nothing.raise_if_failed()
    no_layer = dataclasses.replace(verify(samples.make_artifact()), steps=())
    assert not no_layer.passed
    with pytest.raises(NumericError, match="no layer was compared"):
        no_layer.raise_if_failed()


def test_given_inputs_are_compared_with_onnx_runtime(model):
    x = samples.case(99)
    report = verify(samples.make_artifact(), inputs={"x": x}, model=model)
    assert report.passed
    assert [r.name for r in report.outputs if r.case == "given inputs"] == ["y", "z"]
    wrong = verify(samples.make_artifact(fault="wrong"), inputs={"x": x}, model=model)
    assert not any(r.passed for r in wrong.outputs if r.case == "given inputs")


def test_data_is_compared_sample_by_sample(model):
    data = {"x": np.concatenate([samples.case(seed) for seed in range(5)])}
    report = verify(samples.make_artifact(), data=data, model=model)
    assert report.passed
    assert [r.name for r in report.outputs if r.case == "data"] == ["y", "z"]
    assert report.accuracy is None
    wrong = verify(samples.make_artifact(fault="wrong"), data=data, model=model)
    assert not any(r.passed for r in wrong.outputs if r.case == "data")


def test_labels_need_data_and_a_classifier(model):
    labels = np.zeros(1, np.int64)
    with pytest.raises(UsageError, match="labels without data"):
        verify(samples.make_artifact(), labels=labels)
    with pytest.raises(UsageError, match="no classifier"):
        verify(samples.make_artifact(), data={"x": samples.case(0)}, labels=labels, model=model)


def test_the_exported_model_comes_from_the_cache(model, cache):
    data = model.SerializeToString()
    digest = hashlib.sha256(data).hexdigest()
    artifact = samples.make_artifact(onnx_sha256=digest)
    inputs = {"x": samples.case(5)}
    with pytest.raises(UsageError, match=r"not in this machine's cache.*pass the model"):
        verify(artifact, inputs=inputs)
    (cache / "edgeconv/onnx").mkdir(parents=True)
    (cache / f"edgeconv/onnx/{digest}.onnx").write_bytes(data)
    assert verify(artifact, inputs=inputs, per_layer=True).passed


def test_wrong_inputs_are_refused(model):
    with pytest.raises(UsageError, match="found float64"):
        verify(samples.make_artifact(), inputs={"x": np.zeros(samples.SHAPE)}, model=model)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "edgeconv.exporter", None)
    artifact = samples.make_artifact()
    assert verify(artifact).passed  # the golden cases need NumPy alone
    with pytest.raises(ToolchainError, match="pip install"):
        verify(artifact, per_layer=True)


def test_per_layer_compares_every_step(model):
    report = verify(samples.make_artifact(), per_layer=True, model=model)
    assert report.passed
    assert [(s.step, s.value) for s in report.steps] == [("double", "doubled"), ("relu", "y")]
    assert report.first_divergence is None
    assert report.not_compared == ()


def test_per_layer_names_the_first_step_to_diverge(model):
    report = verify(samples.make_artifact(fault="wrong"), per_layer=True, model=model)
    assert [step.passed for step in report.steps] == [False, False]
    assert report.first_divergence.step == "double"
    assert report.to_json()["first_divergence"]["layers"] == ["Mul_0"]
    with pytest.raises(NumericError, match=r"first step to diverge is 'double' \(layers Mul_0"):
        report.raise_if_failed()


def test_steps_without_an_onnx_value_are_listed(model):
    artifact = samples.make_artifact()
    buffers = list(artifact.plan.buffers)
    buffers[1] = dataclasses.replace(buffers[1], value=None)
    plan = dataclasses.replace(artifact.plan, buffers=tuple(buffers))
    report = verify(dataclasses.replace(artifact, plan=plan), per_layer=True, model=model)
    assert report.not_compared == ("double",)
    assert [step.step for step in report.steps] == ["relu"]


def test_an_artifact_without_golden_cases_needs_inputs(model):
    artifact = samples.make_artifact()
    manifest = dataclasses.replace(artifact.manifest, golden=())
    bare = dataclasses.replace(artifact, manifest=manifest)
    with pytest.raises(UsageError, match="no golden cases"):
        verify(bare)
    report = verify(bare, inputs={"x": samples.case(1)}, model=model)
    assert [r.case for r in report.outputs] == ["given inputs"] * 2
    assert report.passed


def test_a_wrong_golden_output_fails(model):
    wrong = {name: array + 1 for name, array in samples.outputs_of(samples.case(0)).items()}
    entries = golden_entries([([samples.case(0)], list(wrong.values()))])
    report = verify(samples.make_artifact(**entries), inputs={"x": samples.case(0)}, model=model)
    verdicts = {(r.case, r.name): r.passed for r in report.outputs}
    assert verdicts == {
        ("zero", "y"): False,
        ("zero", "z"): False,
        ("one", "y"): True,
        ("one", "z"): True,
        ("given inputs", "y"): True,
        ("given inputs", "z"): True,
    }


def blocked_buffer(logical: tuple[int, ...], block: int) -> Buffer:
    n, c, *spatial = logical
    shape = (n, -(-c // block), *spatial, block)
    return Buffer(Space.ARENA, 0, 0, 0, "float32", shape, logical, block, "v")


@given(
    st.integers(1, 3),
    st.integers(1, 11),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from([1, 2, 4, 8]),
)
def test_blocked_layouts_unpack_by_definition(n, c, spatial, block):
    logical = (n, c, *spatial)
    want = np.arange(np.prod(logical), dtype=np.float32).reshape(logical)
    buffer = blocked_buffer(logical, block)
    memory = np.full(buffer.shape, np.nan, np.float32)
    for index in np.ndindex(logical):
        sample, channel, *place = index
        memory[(sample, channel // block, *place, channel % block)] = want[index]
    np.testing.assert_array_equal(unpack_layout(memory, buffer), want)


def test_plain_layouts_take_their_logical_shape():
    buffer = Buffer(Space.ARENA, 0, 0, 0, "float32", (6,), (2, 3), 0, "v")
    assert unpack_layout(np.zeros(6), buffer).shape == (2, 3)
