"""A small artifact that needs no compiler: x (1, 3, 2, 2), doubled = 2 x, y = relu, z = sum."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgeconv.artifact import Artifact, Model, golden_entries, weights_entry
from edgeconv.plan import Buffer, Plan, Space, Step, Tensor
from edgeconv.target import Target, load_target

SHAPE = (1, 3, 2, 2)
ONNX_SHA256 = "0" * 64


def plan() -> Plan:
    def plain(space: Space, index: int, shape: tuple[int, ...], value: str) -> Buffer:
        size = 4 * int(np.prod(shape))
        return Buffer(space, index, 0, size, "float32", shape, shape, 0, value)

    return Plan(
        inputs=(Tensor("x", SHAPE, "float32"),),
        outputs=(Tensor("y", SHAPE, "float32", 1e-6), Tensor("z", (1,), "float32", 1e-5)),
        buffers=(
            plain(Space.INPUT, 0, SHAPE, "x"),
            Buffer(Space.ARENA, 0, 0, 64, "float32", (1, 1, 2, 2, 4), SHAPE, 4, "doubled"),
            plain(Space.OUTPUT, 0, SHAPE, "y"),
            plain(Space.OUTPUT, 1, (1,), "z"),
        ),
        steps=(
            Step("double", "elementwise", "k_double", (0,), (1,), 12, ("Mul_0",)),
            Step("relu", "elementwise", "k_relu", (1,), (2,), 0, ("Relu_1",)),
        ),
        arena_bytes=64,
        arena_lower_bound=64,
        scratch_bytes=0,
        weights_bytes=4,
    )


def outputs_of(x: np.ndarray) -> dict[str, np.ndarray]:
    y = np.maximum(x * np.float32(2), 0)
    return {"y": y, "z": y.sum(dtype=np.float32).reshape(1)}


def case(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


def fake_runner(fault: str = "") -> bytes:
    """The runner as a script of this Python; `fault` is one that `fake_runner.py` knows."""
    body = (Path(__file__).parent / "fake_runner.py").read_text()
    return f"#!{sys.executable}\nFAULT = {fault!r}\n{body}".encode()


def make_artifact(
    *,
    fault: str = "",
    target: str | Target = "host",
    runner: bytes | None = None,
    onnx_sha256: str = ONNX_SHA256,
    **extra: bytes,
) -> Artifact:
    cases = [([case(seed)], list(outputs_of(case(seed)).values())) for seed in range(2)]
    return Artifact.assemble(
        plan=plan(),
        entries={
            "weights.bin": weights_entry(b"\0\0\0@"),
            "runner": runner if runner is not None else fake_runner(fault),
            "edgeconv.h": b"/* */\n",
            "labels.txt": b"cat\ndog\n",
            **golden_entries(cases),
            **extra,
        },
        model=Model("sample", "made by hand", onnx_sha256, parameters=1, macs=12),
        target=load_target(target) if isinstance(target, str) else target,
        tools={"numpy": np.__version__},
        golden=["zero", "one"],
        preprocessing={"size": 2},
    )


def onnx_model() -> onnx.ModelProto:
    """The same network as an ONNX model."""

    def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["doubled"], name="Mul_0"),
            helper.make_node("Relu", ["doubled"], ["y"], name="Relu_1"),
            helper.make_node("ReduceSum", ["y"], ["total"], name="Sum_2", keepdims=0),
            helper.make_node("Reshape", ["total", "one"], ["z"], name="Reshape_3"),
        ],
        "sample",
        [value("x", SHAPE)],
        [value("y", SHAPE), value("z", (1,))],
        [two, helper.make_tensor("one", TensorProto.INT64, [1], [1])],
        value_info=[value("doubled", SHAPE), value("total", ())],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
