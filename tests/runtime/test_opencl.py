"""Programs with OpenCL steps on a real driver (PoCL), from outside."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from c_programs import inputs, outputs, run, write_folder
from opencl_programs import ALL, entries, plan

from edgeconv.runtime import Model


@pytest.fixture(autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of our own, of which the driver's lasts for all tests."""
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "pocl"))
    monkeypatch.setenv("EDGECONV_OPENCL_CACHE", str(tmp_path_factory.mktemp("cache")))


def check(model: Model, seed: int, scales: int = 1) -> None:
    case = inputs(seed)
    got = model.run(case)
    for name, want in outputs(**case, scales=scales).items():
        np.testing.assert_array_equal(got[name], want, strict=True)


PLACES = [ALL, ("add",), ("scale",), ("relu_count",), ("add", "relu_count")]


@pytest.mark.parametrize("on_gpu", PLACES, ids=["+".join(place) for place in PLACES])
def test_steps_of_gpu_and_cpu(on_gpu: Collection[str], tmp_path: Path) -> None:
    folder = write_folder(tmp_path, entries(plan(on_gpu=on_gpu)))
    with Model(folder) as model:
        assert "Portable Computing Language, driver" in model.device
        for seed in range(3):
            check(model, seed)
        assert all(step.ms > 0 for step in model.profile())

    command = [folder / "runner", "--self-test", "--profile", "--repeat", "1"]
    result = run([*command, "--dump-steps", tmp_path / "steps"])

    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["self_test"]["passed"]
    assert report["device"] == model.device
    assert all(step["ms"][0] > 0 for step in report["steps"])
    case = inputs(0)
    assert (tmp_path / "steps/0_0.bin").read_bytes() == (case["a"] + case["b"]).tobytes()
    assert (tmp_path / "steps/2_0.bin").read_bytes() == outputs(**case)["y"].tobytes()
