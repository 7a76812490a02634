"""Layers that amplify rounding: the tolerance knows by how much, and no more."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeconv import nn
from edgeconv.exporter import Exported, export, tolerance
from edgeconv.exporter.reference import relative_error
from edgeconv.exporter.tolerance import LARGEST
from edgeconv.frontend import load_source

EPS = float(np.finfo(np.float32).eps)


def single(
    op: str,
    shapes: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 20,
    **attributes: object,
) -> onnx.ModelProto:
    constants = constants or {}
    node = helper.make_node(op, [*shapes, *constants], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def exported(module: torch.nn.Module, shape: tuple[int, ...], **scales: float) -> Exported:
    """The module with seeded weights, some parameters scaled."""
    nn.seed_weights(module, 0)
    with torch.no_grad():
        for name, scale in scales.items():
            module.get_parameter(name.replace("__", ".")).mul_(scale)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return export(load_source(module.eval(), example_inputs=[x]))


@pytest.mark.parametrize(
    ("module", "shape", "scales"),
    [
        (nn.DeformConv2d(6, 8), (1, 6, 40, 40), {"offset__weight": 30.0}),
        (nn.DCNv3(8, groups=2), (1, 12, 12, 8), {"offset__weight": 40.0}),
        (
            nn.AttentionAugmentedConv2d(8, 16, size=(6, 7), dk=8, dv=8, heads=2),
            (2, 8, 6, 7),
            {"qkv__weight": 20.0},
        ),
        (
            nn.SelectiveKernel(16, 16, groups=4, reduction=4, least=4),
            (2, 16, 9, 7),
            {"select__weight": 100.0},
        ),
    ],
    ids=["deformable", "DCNv3", "attention", "selective kernel"],
)
def test_steep_layers_are_allowed_what_they_amplify(
    module: torch.nn.Module, shape: tuple[int, ...], scales: dict[str, float]
) -> None:
    net = exported(module, shape, **scales)
    estimate = tolerance(net.model)["output"]
    assert estimate < net.tolerances["output"] < 100 * estimate


def test_ordinary_layers_keep_the_estimate() -> None:
    net = exported(nn.ConvNorm(8, 16, 3, activation=None), (1, 8, 9, 9))
    assert net.tolerances == tolerance(net.model)


def test_a_sum_that_cancels_is_measured_by_its_terms() -> None:
    weight = np.array([[1.0], [-1.0], [1e-3]], np.float32)
    model = single("MatMul", {"x": (1, 3)}, {"w": weight})
    x = np.array([[1.0, 1.0, 1.0]], np.float32)
    measured = tolerance(model, [{"x": x}])["y"]
    # The terms are 1000 times the result.
    assert 100 * EPS < measured < 10_000 * EPS


@pytest.mark.parametrize(
    ("operator", "scale", "attributes"),
    [
        ("LayerNormalization", (4, 6), {"axis": 2}),
        ("InstanceNormalization", (4,), {}),
        ("GroupNormalization", (4,), {"num_groups": 2}),
    ],
)
def test_what_subtracts_a_mean_is_measured_by_what_it_gets(
    operator: str, scale: tuple[int, ...], attributes: dict[str, int]
) -> None:
    constants = {"scale": np.full(scale, 2, np.float32), "bias": np.ones(scale, np.float32)}
    shape = (3, 4, 4, 6)
    model = single(operator, {"x": shape}, constants, opset=21, **attributes)
    # Shape inference knows nothing of a GroupNormalization.
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    assert tolerance(model, [{"x": x}])["y"] < 2 * tolerance(model)["y"]
    assert tolerance(model, [{"x": x + 1000}])["y"] > 50 * tolerance(model)["y"]


def test_the_mean_of_two_channels_is_rounded_and_cancels() -> None:
    """Of two values the normalised ones are -1 and 1 whatever they are: only the mean rounds."""
    ones = np.ones(2, np.float32)
    constants = {"scale": ones, "bias": 0 * ones}
    model = single("LayerNormalization", {"x": (50, 2)}, constants, axis=1, epsilon=1e-12)
    rng = np.random.default_rng(0)
    x = (3 + rng.uniform(0.02, 0.2, (50, 2))).astype(np.float32)
    rounded = (x[:, :1] + x[:, 1:]) * np.float32(0.5)
    centred = x.astype(np.float64) - rounded
    got = centred / np.sqrt((centred**2).mean(1, keepdims=True))
    exact = x - x.astype(np.float64).mean(1, keepdims=True)
    want = exact / np.sqrt((exact**2).mean(1, keepdims=True))
    assert 2 * tolerance(model)["y"] < relative_error(got, want) < tolerance(model, [{"x": x}])["y"]


def test_the_halves_of_a_gelu_cancel_where_its_operand_is_negative() -> None:
    model = single("Gelu", {"x": (1, 8)})
    estimate = tolerance(model)["y"]
    x = np.linspace(1, 4, 8, dtype=np.float32)[np.newaxis]
    assert tolerance(model, [{"x": x}])["y"] == estimate
    assert 3 * estimate < tolerance(model, [{"x": -x}])["y"] < 30 * estimate


def test_denormal_results_are_rounded_to_the_smallest_number() -> None:
    model = single("MatMul", {"x": (1, 3)}, {"w": np.ones((3, 1), np.float32)})
    x = np.full((1, 3), 1e-40, np.float32)
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    measured = tolerance(model, [{"x": x}])["y"]
    assert measured == pytest.approx(3**0.5 * smallest / 3e-40, rel=0.3)


def test_a_decision_is_not_disturbed() -> None:
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["values", "index"]),
        helper.make_node("GatherElements", ["other", "index"], ["y"], axis=1),
    ]
    nodes.insert(0, helper.make_node("Mul", ["raw", "raw"], ["x"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 9)) for n in ("raw", "other")],
        [helper.make_empty_tensor_value_info(n) for n in ("y", "index")],
        [numpy_helper.from_array(np.array([3]), "k")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    # All are nearly equal, so any disturbance would choose others.
    raw = 1 + np.arange(9, dtype=np.float32)[None] * EPS
    other = np.random.default_rng(0).standard_normal((1, 9), np.float32)
    assert tolerance(model, [{"raw": raw, "other": other}]) == tolerance(model)


def test_no_measured_tolerance_is_beyond_the_largest() -> None:
    weight = np.array([[1.0], [-1.0], [1e-7]], np.float32)
    model = single("MatMul", {"x": (1, 3)}, {"w": weight})
    x = np.ones((1, 3), np.float32)
    assert tolerance(model, [{"x": x}])["y"] == pytest.approx(LARGEST, rel=1e-3)


def test_measuring_again_gives_the_same() -> None:
    net = exported(nn.DeformConv2d(4, 4), (1, 4, 9, 9), offset__weight=10.0)
    cases = [case.inputs for case in net.golden]
    assert tolerance(net.model, cases) == net.tolerances


@pytest.mark.parametrize("opset", [20, 22])
def test_measuring_needs_no_operator_that_newer_opsets_lack(opset: int) -> None:
    model = single("LayerNormalization", {"x": (2, 5), "scale": (5,)})
    model.opset_import[0].version = opset
    inputs = {"x": np.ones((2, 5), np.float32), "scale": np.ones(5, np.float32)}
    assert tolerance(model, [inputs])["y"] > 0
