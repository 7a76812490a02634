"""verify, run, bench and inspect on an artifact that was not made by the compiler."""

import io
import zipfile

import numpy as np
import pytest
from samples import case, make_artifact, outputs_of

from edgeconv.artifact.manifest import SCHEMA


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """Writes the sample artifact with a fault, as `sample("wrong")`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(fault="", **changes):
        path = tmp_path / "sample.edge"
        make_artifact(fault=fault, **changes).save(path)
        return path

    return write


def test_verify_shows_every_case_and_output(cli, sample):
    text = cli("verify", sample()).stdout
    for word in ("zero", "one", "SQNR", "passed", "this machine"):
        assert word in text
    assert "FAILED" not in text


def test_verify_gives_the_report_as_json(cli_json, sample):
    report = cli_json("verify", sample(), "--device", "local")
    assert report["passed"] is True
    assert [(entry["case"], entry["output"]) for entry in report["outputs"]] == [
        ("zero", "y"),
        ("zero", "z"),
        ("one", "y"),
        ("one", "z"),
    ]


def test_wrong_outputs_exit_4_and_json_still_holds_the_report(cli, cli_json, sample):
    path = sample("wrong")
    assert cli_json("verify", path, code=4)["passed"] is False
    result = cli("verify", path, code=4)
    assert "FAILED" in result.stdout
    assert "tolerance" in result.stderr


@pytest.mark.parametrize("fault", ["load", "illegal", "garbage"])
def test_a_failing_device_exits_5(cli, sample, fault):
    result = cli("verify", sample(fault), code=5)
    assert result.stdout == ""
    assert "local" in result.stderr


@pytest.mark.parametrize("command", ["verify", "bench", "inspect"])
def test_a_damaged_artifact_exits_6(cli, sample, command):
    path = sample()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "damaged" in cli(command, path, code=6).stderr


@pytest.mark.parametrize("command", ["verify", "bench", "inspect"])
def test_an_artifact_that_is_not_there_exits_2(cli, command):
    assert "nowhere.edge" in cli(command, "nowhere.edge", code=2).stderr


def test_an_unknown_device_exits_2(cli, sample):
    assert "toaster" in cli("verify", sample(), "--device", "toaster", code=2).stderr


def test_a_missing_emulator_says_what_to_type(cli, sample, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None)
    message = cli("verify", sample(target="rasp4"), code=5).stderr
    assert "apt-get install qemu-user" in message


def test_run_maps_arrays_to_arrays(cli, cli_json, sample, tmp_path):
    np.savez(tmp_path / "in.npz", x=case(7))
    arguments = ("run", sample(), "--inputs", "in.npz", "--outputs", "out.npz")
    assert "out.npz" in cli(*arguments).stdout
    with np.load(tmp_path / "out.npz") as outputs:
        assert sorted(outputs) == ["y", "z"]
        for name, want in outputs_of(case(7)).items():
            np.testing.assert_allclose(outputs[name], want, rtol=1e-6)
    assert cli_json(*arguments)["outputs"]["y"] == {"shape": [1, 3, 2, 2], "dtype": "float32"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--inputs", "in.npz"],
        ["--outputs", "out.npz"],
        ["--inputs", "in.npz", "--outputs", "out.npz", "--image", "cat.png"],
        ["cat.png"],
        ["--image", "cat.png", "--top", "0"],
    ],
)
def test_run_wants_arrays_or_photographs(cli, sample, tmp_path, arguments):
    np.savez(tmp_path / "in.npz", x=case(7))
    cli("run", sample(), *arguments, code=2)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": case(1)[:, :2]}, "[1, 3, 2, 2]"),
        ({"x": case(1).astype(np.float64)}, "float64"),
        ({"y": case(1)}, "'y'"),
        ({}, "'x' is missing"),
        ({"x": np.array([{}])}, "npz"),
    ],
)
def test_arrays_that_do_not_fit_are_named(cli, sample, tmp_path, arrays, word):
    np.savez(tmp_path / "in.npz", **arrays)
    result = cli("run", sample(), "--inputs", "in.npz", "--outputs", "out.npz", code=2)
    assert word in result.stderr


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_that_is_no_npz_is_named(cli, sample, tmp_path, content):
    (tmp_path / "in.npz").write_bytes(content)
    result = cli("run", sample(), "--inputs", "in.npz", "--outputs", "out.npz", code=2)
    assert "in.npz" in result.stderr


def test_a_single_array_is_no_npz(cli, sample, tmp_path):
    np.save(tmp_path / "in.npy", case(1))
    result = cli("run", sample(), "--inputs", "in.npy", "--outputs", "out.npz", code=2)
    assert "in.npy" in result.stderr


def test_bench_shows_times(cli, sample):
    text = cli("bench", sample()).stdout
    for word in ("median ms", "p90 ms", "min ms", "Load time", "1.0 MiB"):
        assert word in text


def test_bench_gives_times_as_json(cli_json, sample):
    report = cli_json("bench", sample(), "--threads", "1")
    assert report["min_ms"] <= report["median_ms"] <= report["p90_ms"]
    assert (report["load_ms"], report["peak_rss_bytes"], report["threads"]) == (1.5, 1 << 20, 1)


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--against", "magic"]])
def test_bench_refuses_what_makes_no_sense(cli, sample, arguments):
    cli("bench", sample(), *arguments, code=2)


def test_inspect_shows_manifest_files_and_plan(cli, sample):
    text = cli("inspect", sample()).stdout
    for word in ("made by hand", "weights.bin", "double", "elementwise", "input x", "Relu_1"):
        assert word in text


def test_inspect_gives_manifest_and_plan_as_json(cli_json, sample):
    found = cli_json("inspect", sample())
    assert found["manifest"]["model"]["name"] == "sample"
    assert [step["name"] for step in found["plan"]["steps"]] == ["double", "relu"]


def test_an_artifact_is_inspected_for_no_other_target(cli, sample):
    assert "already compiled" in cli("inspect", sample(), "--target", "rasp4", code=2).stderr


def test_an_artifact_of_a_newer_schema_exits_6(cli, sample):
    path = sample()
    memory = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(memory, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "manifest.json":
                data = data.replace(b'"schema": %d' % SCHEMA, b'"schema": 99')
            new.writestr(name, data)
    path.write_bytes(memory.getvalue())
    assert "schema 99" in cli("inspect", path, code=6).stderr
