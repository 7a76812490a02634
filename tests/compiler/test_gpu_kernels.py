"""Deformable convolution, products and rows on a GPU's kernels, by PoCL and oclgrind."""

from __future__ import annotations

import numpy as np
import onnx
from gpu_checks import find_no_fault
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_for_gpu, exported, graph_model

from edgeconv.devices import open_session

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


class Model:
    """One model that holds every case side by side."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: Arrays = {}
        self.constants: Arrays = {}

    def add(
        self, op: str, *operands: np.ndarray, constant: tuple[int, ...] = (), **options
    ) -> None:
        number = len(self.nodes)
        names = [f"i{number}_{place}" for place in range(len(operands))]
        for place, (name, array) in enumerate(zip(names, operands, strict=True)):
            (self.constants if place in constant else self.inputs)[name] = array
        self.nodes.append(
            helper.make_node(op, names, [f"o{number}"], name=f"node{number}", **options)
        )

    def deformable(self, channels: int, outs: int, size: int, groups: int, offsets: int) -> None:
        self.add(
            "DeformConv",
            normal(1, channels, size, size + 1),
            normal(outs, channels // groups, 3, 3),
            2 * normal(1, 18 * offsets, size, size + 1),
            normal(outs),
            np.abs(normal(1, 9 * offsets, size, size + 1)),
            constant=(1, 3),
            group=groups,
            offset_group=offsets,
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
        )

    def build(self) -> onnx.ModelProto:
        outputs = [node.output[0] for node in self.nodes]
        return graph_model(self.nodes, self.inputs, outputs, self.constants, 19)


def small() -> Model:
    model = Model()
    model.deformable(8, 12, 4, 1, 1)
    model.deformable(6, 6, 3, 3, 2)
    model.deformable(6, 6, 3, 6, 2)
    model.add("MatMul", normal(1, 128), normal(128, 10), constant=(1,))
    model.add("MatMul", normal(2, 5, 8), normal(2, 8, 7))
    model.add("Softmax", 3 * normal(2, 128), axis=1)
    model.add("Softmax", 3 * normal(1, 3, 5, 2), axis=1)
    model.add("GlobalAveragePool", normal(1, 6, 10, 12))
    return model


def large() -> Model:
    model = Model()
    model.deformable(16, 32, 14, 1, 1)
    model.deformable(16, 16, 9, 2, 2)
    model.deformable(8, 8, 6, 8, 1)
    model.add("MatMul", normal(1, 1280), normal(1280, 1000), constant=(1,))
    model.add("Gemm", normal(1, 512), normal(1000, 512), normal(1000), constant=(1, 2), transB=1)
    model.add("MatMul", normal(4, 49, 32), normal(4, 32, 49))
    model.add("MatMul", normal(1, 1009), normal(1009, 12), constant=(1,))
    model.add("Softmax", 3 * normal(3, 1000), axis=1)
    model.add("Softmax", 3 * normal(2, 197), axis=1)
    model.add("LayerNormalization", normal(1, 3, 1024), normal(1024), axis=-1, constant=(1,))
    model.add("InstanceNormalization", normal(2, 6, 14, 14), normal(6), normal(6), constant=(1, 2))
    return model


def test_kernels_equal_onnxruntime() -> None:
    made = large()
    model = made.build()
    got = open_session(compile_for_gpu(model, made.inputs, "mali-g610"), "opencl").run(made.inputs)
    for name, want in exported(model, made.inputs).golden[0].outputs.items():
        assert_close(got[name], want, 1280, name)


def test_kernels_stay_within_their_tensors_and_do_not_race() -> None:
    made = small()
    find_no_fault(compile_for_gpu(made.build(), made.inputs, "mali-g610"))
