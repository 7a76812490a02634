"""Every operator of the converter table on a GPU's kernels, by this machine's OpenCL driver."""

from __future__ import annotations

import pytest
from onnx_graphs import assert_close, compile_for_gpu, exported
from test_operators import CASES, build

from edgeconv.devices import open_session
from edgeconv.plan import Backend

# Each result depends on the one before, or on the order of updates.
SEQUENTIAL = {"ScatterElements", "ScatterND", "MaxUnpool", "GRU", "LSTM", "RNN"}


@pytest.mark.parametrize("opset", [20, 23])
def test_operators_equal_onnxruntime_on_a_gpu(opset: int) -> None:
    cases = [case for case in CASES if case.opset == opset]
    model, inputs = build(*cases)
    artifact = compile_for_gpu(model, inputs, "mali-g610")
    got = open_session(artifact, "opencl").run(inputs)
    want = exported(model, inputs).golden[0].outputs
    for number, case in enumerate(cases):
        for i in range(case.outputs):
            name = f"o{number}_{i}"
            assert_close(got[name], want[name], case.length, f"{case} {name}")
    refused = {step.layers[0] for step in artifact.plan.steps if step.backend is Backend.CPU}
    ops = {cases[int(layer.removeprefix("node"))].op for layer in refused}
    assert ops <= SEQUENTIAL, ops
    assert all(step.reason for step in artifact.plan.steps if step.backend is Backend.CPU)
