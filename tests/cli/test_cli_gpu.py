"""A network for a GPU through the command line, on this machine's OpenCL driver."""

import json
import re
from pathlib import Path

import pytest

MODEL = "zoo:resnext26_32x4d/tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture
def artifact(cli_json, folder) -> Path:
    path = folder / "net.edge"
    if not path.exists():
        compiled = cli_json("compile", MODEL, "--target", "mali-g610", "--output", str(path))
        assert compiled["verified"] is True
        assert compiled["verification"]["device"] == "opencl"
        assert compiled["refused"] == {}
    return path


def test_compile_verifies_by_the_twin_and_says_so(cli, artifact):
    text = cli("verify", str(artifact)).stdout
    assert "by OpenCL on this machine (emulated)" in " ".join(text.split())


def test_inspect_says_what_runs_where(cli, cli_json, artifact):
    text = cli("inspect", str(artifact)).stdout
    steps = cli_json("inspect", str(artifact))["plan"]["steps"]
    assert f"{len(steps)} on the GPU, 0 on the CPU" in text
    assert len(re.findall(r"GPU, \d+x", text)) == len(steps)
    assert {step["backend"] for step in steps} == {"opencl"}


def test_profile_times_every_step(cli, cli_json, artifact):
    report = cli_json("profile", str(artifact))
    plan = cli_json("inspect", str(artifact))["plan"]
    assert [s["name"] for s in report["steps"]] == [s["name"] for s in plan["steps"]]
    assert all(step["median_ms"] > 0 for step in report["steps"])
    assert report["emulated"] is True
    assert "emulated, not a speed" in report["notes"]
    assert "Steps together" in cli("profile", str(artifact)).stdout


def test_profile_works_for_cpus_too(cli_json, tmp_path):
    path = tmp_path / "net.edge"
    cli_json("compile", "zoo:digits/octave", "--target", "host", "--output", str(path))
    report = cli_json("profile", str(path))
    assert {step["backend"] for step in report["steps"]} == {"cpu"}
    assert json.dumps(report)


def test_no_driver_no_verification_but_an_artifact(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGECONV_OPENCL", "/no/such/library.so")
    path = tmp_path / "net.edge"
    done = cli("compile", MODEL, "--target", "mali-g610", "--output", str(path))
    assert path.exists()
    assert "was NOT verified" in done.stderr
    assert "/no/such/library.so" in done.stderr
