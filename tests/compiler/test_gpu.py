"""What compiling for a GPU makes: kernels without a fault, and an honest account of the rest."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from gpu_checks import find_no_fault
from onnx import TensorProto, helper, numpy_helper

import edgeconv
from edgeconv import nn
from edgeconv.artifact import CPU_FUNCTIONS, OPENCL_SOURCES, Artifact
from edgeconv.nn.families import FAMILIES
from edgeconv.plan import GPU_ALIGNMENT, Backend, Plan, Space
from edgeconv.target import list_targets

EXAMPLES = {
    name: example for family in FAMILIES.values() for name, example in family.examples.items()
}
GPUS = [target.name for target in list_targets() if target.gpu]


@cache
def layer(name: str, target: str = "android-opencl") -> Artifact:
    """A compiled example of `edgeconv/nn/families.py`."""
    example = EXAMPLES[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in example.shapes]
    return edgeconv.compile(nn.seed_weights(example.make(), 0).eval(), inputs, target=target)


def has_joined_tensors(plan: Plan) -> bool:
    """Whether several steps write parts of a tensor that others read as a whole."""

    def pieces(indices: tuple[int, ...]) -> set[tuple[int, int]]:
        found = (plan.buffers[index] for index in indices)
        return {(b.offset, b.bytes) for b in found if b.space is Space.ARENA}

    written = {piece for step in plan.steps for piece in pieces(step.outputs)}
    whole = {piece for step in plan.steps for piece in pieces(step.inputs)}
    return any(buffer.frame for buffer in plan.buffers) or not whole <= written


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_layer_equals_pytorch_on_the_gpu_alone_and_oclgrind_finds_no_fault(name: str) -> None:
    compiled = layer(name)
    compiled.verify().raise_if_failed()
    assert compiled.plan.refused == {}
    assert {step.backend for step in compiled.plan.steps} == {Backend.OPENCL}
    find_no_fault(compiled, separate=not has_joined_tensors(compiled.plan))


@pytest.mark.parametrize("target", GPUS)
def test_every_gpu_gets_kernels_that_fit_it(target: str) -> None:
    name = next(iter(EXAMPLES))
    compiled = layer(name, target)
    compiled.verify(device="opencl").raise_if_failed()
    gpu = compiled.manifest.target.gpu
    assert gpu is not None
    for step in compiled.plan.steps:
        assert step.ndrange is not None
        x, y, z = step.ndrange.local_size
        assert x * y * z <= gpu.max_workgroup
        buffers = [compiled.plan.buffers[i] for i in step.inputs + step.outputs]
        assert all(buffer.offset % GPU_ALIGNMENT == 0 for buffer in buffers)


def test_an_artifact_without_an_ndk_has_what_a_twin_needs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    compiled = edgeconv.compile(torch.nn.ReLU(), [torch.zeros(1, 4)], target="adreno-660")
    assert "adreno-660 needs an Android NDK" in caplog.text
    assert {"runner", "libmodel.so"} & set(compiled.entries) == set()
    assert {"plan.json", "weights.bin", OPENCL_SOURCES, "edgeconv.h"} <= set(compiled.entries)
    assert CPU_FUNCTIONS not in compiled.entries
    assert not re.search(r"^#include", compiled.entries[OPENCL_SOURCES].decode(), re.M)


def recurrent() -> onnx.ModelProto:
    """y = an LSTM of 3 units over relu(x), 5 steps of a batch of 2 with 4 features."""

    def info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((1, 12, 4)), "r": rng.standard_normal((1, 12, 3))}
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["t"], "relu"),
            helper.make_node("LSTM", ["t", "w", "r"], ["y"], "lstm", hidden_size=3),
        ],
        "recurrent",
        [info("x", (5, 2, 4))],
        [info("y", (5, 1, 2, 3))],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_what_the_gpu_cannot_compute_runs_on_the_cpu_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "recurrent.onnx"
    onnx.save(recurrent(), path)
    compiled = edgeconv.compile(path, target="android-opencl")
    places = [step.backend for step in compiled.plan.steps]
    assert set(places) == {Backend.CPU, Backend.OPENCL}
    on_cpu = [step.name for step in compiled.plan.steps if step.backend is Backend.CPU]
    assert list(compiled.plan.refused) == on_cpu
    assert "sequential" in compiled.plan.refused[on_cpu[0]]
    assert CPU_FUNCTIONS in compiled.entries
    report = compiled.verify()
    report.raise_if_failed()
    assert report.refused == compiled.plan.refused
