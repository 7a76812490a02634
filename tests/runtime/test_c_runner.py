"""The runner executable, from outside: JSON, files, exit codes, the self-test and its metrics."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from c_programs import FAILING, SHAPE, inputs, linked, outputs, run, write_folder

from edgeconv.compiler.link import Emit
from edgeconv.target import load_target


def runner(folder: Path, *arguments: str | Path) -> dict:
    result = run([folder / "runner", folder, *arguments])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def self_test(folder: Path) -> tuple[int, dict]:
    result = run([folder / "runner", "--self-test"])
    return result.returncode, json.loads(result.stdout)["self_test"]


def write_inputs(folder: Path, case: dict[str, np.ndarray]) -> list[str | Path]:
    arguments: list[str | Path] = []
    for index, array in enumerate(case.values()):
        array.tofile(folder / f"in_{index}")
        arguments += ["--input", f"{index}={folder}/in_{index}"]
    return arguments


def test_report_of_timed_runs(host_folder: Path) -> None:
    report = runner(host_folder, "--repeat", "3", "--warmup", "1", "--profile", "--threads", "2")
    assert report["model"] == "net"
    assert report["target"] == "host"
    assert (report["api"], report["threads"], report["weights_bytes"]) == (1, 2, 128)
    assert report["arena_bytes"] == 5632
    assert report["load_ms"] > 0
    assert 10_000 < report["peak_rss_bytes"] < 10_000_000
    assert len(report["runs_ms"]) == 3
    assert [step["name"] for step in report["steps"]] == ["add_0", "scale_1", "relu_2"]
    assert [step["family"] for step in report["steps"]] == ["elementwise", "elementwise", "relu"]
    for i, whole in enumerate(report["runs_ms"]):
        assert 0 < sum(step["ms"][i] for step in report["steps"]) <= whole
    assert "self_test" not in report


def test_plain_run_has_one_time_and_no_steps(host_folder: Path) -> None:
    report = runner(host_folder)
    assert len(report["runs_ms"]) == 1
    assert "steps" not in report


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_inputs_and_outputs_are_files(host_folder: Path, tmp_path: Path, threads: int) -> None:
    case = inputs(7)
    files = ["--output", f"0={tmp_path}/y", "--output", f"1={tmp_path}/n", "--pin"]
    runner(host_folder, "--threads", str(threads), *write_inputs(tmp_path, case), *files)
    want = outputs(**case)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y", "<f4").reshape(SHAPE), want["y"])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "n", "<i4"), want["positives"])


def test_inputs_are_golden_case_0_by_default(host_folder: Path, tmp_path: Path) -> None:
    runner(host_folder, "--output", f"0={tmp_path}/y")
    golden = host_folder / "golden/0/output_0.bin"
    assert (tmp_path / "y").read_bytes() == golden.read_bytes()


def test_dumped_steps_are_the_tensors_in_memory(host_folder: Path, tmp_path: Path) -> None:
    case = inputs(3)
    runner(host_folder, *write_inputs(tmp_path, case), "--dump-steps", tmp_path / "steps")
    total = case["a"] + case["b"]
    want = outputs(**case)
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == [
        *("0_0.bin", "1_0.bin", "2_0.bin", "2_1.bin")
    ]
    assert (tmp_path / "steps/0_0.bin").read_bytes() == total.tobytes()
    assert (tmp_path / "steps/2_0.bin").read_bytes() == want["y"].tobytes()
    assert (tmp_path / "steps/2_1.bin").read_bytes() == want["positives"].tobytes()


def test_description_needs_no_weights(host_folder: Path) -> None:
    (host_folder / "weights.bin").unlink()
    report = runner(host_folder, "--describe")
    assert report["inputs"][1] == {
        "name": "b",
        "dtype": "float32",
        "shape": [37, 19],
        "bytes": 2812,
        "tolerance": 0,
    }
    assert report["outputs"][0]["tolerance"] == 1e-6
    assert (report["golden_cases"], report["scratch_bytes"]) == (2, 256)
    assert report["steps"][1] == {"name": "scale_1", "family": "elementwise", "macs": 703}


def test_self_test_passes(host_folder: Path) -> None:
    code, report = self_test(host_folder)
    assert code == 0
    assert report["passed"]
    assert [case["case"] for case in report["cases"]] == [0, 1]
    assert report["cases"][1]["outputs"][0] == {
        "name": "y",
        "max_abs": 0,
        "max_rel": 0,
        "sqnr_db": "inf",
        "cosine": 1,
        "tolerance": 1e-6,
        "passed": True,
    }


def test_self_test_measures_a_planted_error(host_folder: Path) -> None:
    path = host_folder / "golden/1/output_0.bin"
    want = np.fromfile(path, "<f4")
    got = want.copy()
    want[5] += 0.25
    want.tofile(path)

    code, report = self_test(host_folder)

    assert code == 5
    assert not report["passed"]
    assert report["cases"][0]["outputs"][0]["passed"]
    measured = report["cases"][1]["outputs"][0]
    got, want = got.astype(np.float64), want.astype(np.float64)
    assert not measured["passed"]
    assert measured["max_abs"] == pytest.approx(abs(got - want).max(), rel=1e-6)
    assert measured["max_rel"] == pytest.approx(abs(got - want).max() / want.max(), rel=1e-6)
    sqnr = 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum())
    assert measured["sqnr_db"] == pytest.approx(sqnr, rel=1e-6)
    cosine = got @ want / np.linalg.norm(got) / np.linalg.norm(want)
    assert measured["cosine"] == pytest.approx(cosine, rel=1e-6)


def test_an_error_within_the_tolerance_passes(host_folder: Path) -> None:
    path = host_folder / "golden/0/output_0.bin"
    want = np.fromfile(path, "<f4")
    largest = want.argmax()
    want[largest] = np.nextafter(want[largest], np.float32(np.inf))
    want.tofile(path)
    code, report = self_test(host_folder)
    assert code == 0
    assert 0 < report["cases"][0]["outputs"][0]["max_rel"] <= 1e-6


def plant(folder: Path, got: float, want: float) -> tuple[int, dict]:
    """Make element 3 of y come out as `got` (a + b is `got`), with golden value `want`."""
    for name, index, value in (("input_0", 3, got), ("input_1", 3, 0), ("output_0", 3, want)):
        path = folder / f"golden/0/{name}.bin"
        array = np.fromfile(path, "<f4")
        array[index] = value
        array.tofile(path)
    positives = np.fromfile(folder / "golden/0/output_0.bin", "<f4") > 0
    positives[3] = got > 0
    np.array([positives.sum()], "<i4").tofile(folder / "golden/0/output_1.bin")
    code, report = self_test(folder)
    return code, report["cases"][0]["outputs"][0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_equal_special_values_pass(host_folder: Path, value: float) -> None:
    code, measured = plant(host_folder, value, value)
    assert code == 0
    assert (measured["max_abs"], measured["cosine"]) == (0, 1)


@pytest.mark.parametrize(
    ("got", "want", "error"),
    [
        (np.nan, 1, "nan"),
        (1, np.nan, "nan"),
        (np.inf, 1, "inf"),
        (1, np.inf, "inf"),
        (np.inf, -np.inf, "inf"),
    ],
)
def test_unequal_special_values_fail(
    host_folder: Path, got: float, want: float, error: str
) -> None:
    code, measured = plant(host_folder, got, want)
    assert code == 5
    assert not measured["passed"]
    assert measured["max_abs"] == measured["max_rel"] == error


USAGE = [
    (["--nonsense"], "--nonsense is not an option"),
    (["--threads", "0"], "--threads needs a number of at least 1"),
    (["--threads", "two"], "--threads needs a number"),
    (["--threads"], "--threads needs a value"),
    (["--repeat", "0"], "--repeat needs a number of at least 1"),
    (["--input", "0"], "--input needs INDEX=FILE"),
    (["--input", "0=x"], "1 of 2 inputs"),
    (["--input", "9=x"], "the model has 2"),
    (["--output", "0=/nowhere/y"], "/nowhere/y"),
    (["again"], "second folder"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=[" ".join(a) for a, _ in USAGE])
def test_usage_errors(host_folder: Path, arguments: list[str], message: str) -> None:
    result = run([host_folder / "runner", host_folder, *arguments])
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


def test_an_input_of_another_size(host_folder: Path, tmp_path: Path) -> None:
    case = inputs()
    arguments = write_inputs(tmp_path, {"a": case["a"], "b": case["b"][:5]})
    result = run([host_folder / "runner", *arguments])
    assert result.returncode == 2
    assert "has 380 bytes, the tensor has 2812" in result.stderr


def test_a_file_that_cannot_be_written_leaves_nothing(host_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    result = run([host_folder / "runner", "--output", f"0={tmp_path}/y"])
    assert result.returncode == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_help(host_folder: Path) -> None:
    result = run([host_folder / "runner", "--help"])
    assert result.returncode == 0
    assert result.stdout.startswith("usage: runner [DIR]")


def damage(folder: Path, how: str) -> None:
    path = folder / "weights.bin"
    content = path.read_bytes()
    replacements = {
        "truncated": content[:-1],
        "longer": content + b"\0",
        "empty": b"",
        "another file": b"P" * len(content),
        "newer": content[:8] + b"\2" + content[9:],
        "foreign": content[:30] + bytes([content[30] ^ 1]) + content[31:],
    }
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(replacements[how])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "cannot open"),
        ("truncated", "damaged"),
        ("longer", "damaged"),
        ("empty", "damaged"),
        ("another file", "not a weights file"),
        ("newer", "format version 2"),
        ("foreign", "another model"),
    ],
)
def test_weights_that_do_not_fit(host_folder: Path, how: str, message: str) -> None:
    damage(host_folder, how)
    result = run([host_folder / "runner"])
    assert (result.returncode, result.stdout) == (3, "")
    assert message in result.stderr
    assert "weights.bin" in result.stderr


def replace_by(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"endless": "/dev/zero", "loop": path}[kind])


@pytest.mark.parametrize("kind", ["pipe", "folder", "endless", "loop"])
@pytest.mark.parametrize("name", ["weights.bin", "golden/0/input_1.bin", "golden/1/output_0.bin"])
def test_what_is_no_file_is_refused_at_once(host_folder: Path, name: str, kind: str) -> None:
    replace_by(host_folder / name, kind)
    result = run([host_folder / "runner", "--self-test"])
    assert result.returncode == 3
    assert name in result.stderr


def test_golden_files_that_are_missing(host_folder: Path) -> None:
    (host_folder / "golden/1/output_1.bin").unlink()
    code, report = self_test(host_folder)
    assert code == 3
    assert not report["passed"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_failing_step_is_named(host_folder: Path, tmp_path: Path, threads: str) -> None:
    case = inputs()
    case["a"][0, 0] = FAILING
    arguments = write_inputs(tmp_path, case)
    result = run([host_folder / "runner", "--threads", threads, *arguments])
    assert (result.returncode, result.stdout) == (4, "")
    assert "step 0 (add_0) failed with code 7" in result.stderr


@pytest.mark.parametrize("target_name", ["rasp4", "rasp2"])
def test_self_test_on_emulated_boards(target_name: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, linked(target_name, Emit.EXE))
    emulator = load_target(target_name).emulator
    assert emulator
    command = [
        emulator.program,
        "-cpu",
        emulator.cpu,
        folder / "runner",
        "--self-test",
        "--profile",
    ]
    for threads in ("1", "3"):
        result = run([*command, "--threads", threads])
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["self_test"]["passed"]
        assert (report["target"], report["threads"]) == (target_name, int(threads))
