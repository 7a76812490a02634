"""Builds small ONNX models, compiles them for this machine and runs them in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeconv.artifact import Artifact
from edgeconv.compiler import pipeline
from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.exporter import Exported, GoldenCase, reference_values
from edgeconv.exporter.tidy import infer
from edgeconv.runtime import Model
from edgeconv.target import Target, load_target

Arrays = dict[str, np.ndarray]


def graph_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    """Return a checked model with inferred shapes."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = infer(model, "graph")
    onnx.checker.check_model(model)
    return model


def exported(model: onnx.ModelProto, inputs: Arrays) -> Exported:
    """Return `model` with ONNX Runtime's outputs for `inputs` as its golden case."""
    names = [value.name for value in model.graph.output]
    outputs = reference_values(model, inputs, names)
    return Exported("graph", "test", model, (GoldenCase("test", inputs, outputs),))


def compile_model(
    model: onnx.ModelProto, inputs: Arrays, target: str | Target = "host"
) -> Artifact:
    """Compile with a shared library on this machine, a runner elsewhere."""
    target = target if isinstance(target, Target) else load_target(target)
    emit = Emit.LIB if target.name == "host" else Emit.EXE
    return compile_exported(exported(model, inputs), target, emit=emit)


def with_caches(name: str, l1d_kib: int, l2_kib: int | None = None) -> Target:
    """Return a target with another first-level data cache, and second-level cache if given.

    Weights of few channels fill one of 3 KiB.
    """
    target = load_target(name)
    cpu = replace(target.cpu, l1d_kib=l1d_kib, l2_kib=l2_kib or target.cpu.l2_kib)
    return replace(target, cpu=cpu)


class Case(Protocol):
    """A part of a graph."""

    def nodes(self, p: str) -> tuple[list[onnx.NodeProto], Arrays, Arrays, list[str]]:
        """Return nodes, inputs, constants and outputs, whose names begin with `p`."""
        ...


def compile_with_and_without(
    pass_name: str, cases: Sequence[Case], target: str
) -> tuple[Artifact, Artifact, Arrays]:
    """Return the cases in one model, compiled with a pass and without it, and their inputs."""
    parts = [case.nodes(f"n{i}_") for i, case in enumerate(cases)]
    nodes = [node for part in parts for node in part[0]]
    inputs = {name: array for part in parts for name, array in part[1].items()}
    used = {name for node in nodes for name in node.input}
    constants = {name: array for part in parts for name, array in part[2].items() if name in used}
    model = graph_model(nodes, inputs, [name for part in parts for name in part[3]], constants)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, pass_name, lambda graph, *_: graph)
        without = compile_model(model, inputs, target)
    return compile_model(model, inputs, target), without, inputs


def compile_for_gpu(model: onnx.ModelProto, inputs: Arrays, target: str) -> Artifact:
    """Compile kernels for the GPU of `target`, without a program; a twin runs them."""
    android = load_target("android-opencl")
    gpu = replace(android, gpu=load_target(target).gpu)
    return compile_exported(exported(model, inputs), gpu, emit=Emit.BUNDLE)


def run_model(model: onnx.ModelProto, inputs: Arrays) -> Arrays:
    """Compile for this machine and run once."""
    return run_library(compile_model(model, inputs), inputs)


def run_library(artifact: Artifact, inputs: Arrays, threads: int = 1) -> Arrays:
    """Run an artifact's library in this process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.edge"
        artifact.save(path)
        with Model(path, threads=threads) as loaded:
            return loaded.run(inputs)


def assert_close(got: Any, want: Any, length: int, name: str = "") -> None:
    """Compare within the rounding error of sums of `length` products."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, name
    assert got.dtype == want.dtype, name
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, name)
        return
    bound = np.finfo(np.float32).eps * 4 * max(length, 1) ** 0.5 * max(1e-30, np.abs(want).max())
    error = np.abs(got - want).max() if want.size else 0.0
    assert error <= bound, f"{name}: error {error:.3g} is beyond {bound:.3g}"
