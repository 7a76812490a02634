import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeconv.exporter import reference_values, relative_error, tolerance, value_tolerances

EPS = float(np.finfo(np.float32).eps)


def graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: list[str],
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info(name, dtype, s) for name, s in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "length"),
    [
        ("Conv", [(1, 6, 9, 9), (4, 3, 3, 5)], {"group": 2}, 3 * 3 * 5),
        ("ConvTranspose", [(1, 6, 9, 9), (6, 2, 3, 4)], {"group": 2}, 3 * 3 * 4),
        ("Gemm", [(2, 7), (7, 3)], {}, 7),
        ("Gemm", [(7, 2), (7, 3)], {"transA": 1}, 7),
        ("Gemm", [(2, 7), (7, 3), (3,)], {}, 7 + 4),
        ("Conv", [(1, 6, 9, 9), (4, 6, 3, 5), (4,)], {}, 6 * 3 * 5 + 4),
        ("MatMul", [(5, 2, 7), (5, 7, 3)], {}, 7),
        ("AveragePool", [(1, 6, 9, 9)], {"kernel_shape": [2, 3]}, 6),
        ("GlobalAveragePool", [(1, 6, 9, 8)], {}, 72),
        ("ReduceMean", [(1, 6, 9, 8)], {"keepdims": 0}, 6 * 9 * 8),
        ("ReduceProd", [(1, 6, 9, 8)], {"keepdims": 0}, 6 * 9 * 8),
        ("Softmax", [(2, 5, 3)], {"axis": 1}, 5),
        ("LayerNormalization", [(2, 5, 3), (5, 3)], {"axis": 1}, 15),
        ("InstanceNormalization", [(1, 6, 4, 5), (6,), (6,)], {}, 20),
        ("LSTM", [(5, 2, 7), (1, 24, 7), (1, 24, 6)], {"hidden_size": 6}, 5 * (7 + 6)),
        ("Add", [(2, 3), (2, 3)], {}, 1),
        ("Sigmoid", [(2, 3)], {}, 4),
        ("Gelu", [(2, 3)], {}, 7),
        ("Relu", [(2, 3)], {}, 0),
        ("MaxPool", [(1, 6, 9, 9)], {"kernel_shape": [3, 3]}, 0),
    ],
)
def test_one_layer_counts_the_root_of_its_length(
    op: str, shapes: list, attributes: dict, length: int
) -> None:
    names = [f"x{i}" for i in range(len(shapes))]
    node = helper.make_node(op, names, ["y"], **attributes)
    model = graph([node], dict(zip(names, shapes, strict=True)), ["y"])
    assert tolerance(model)["y"] == pytest.approx(EPS * length**0.5)


def test_layers_before_an_output_add_up_and_each_counts_once() -> None:
    model = graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("MatMul", ["v", "w"], ["d"]),
        ],
        {"x": [4, 4], "w": [4, 4], "v": [4, 4]},
        ["c", "d"],
    )
    values = value_tolerances(model)
    assert values == pytest.approx({"a": 2 * EPS, "b": 2 * EPS, "c": 3 * EPS, "d": 2 * EPS})
    assert tolerance(model) == {"c": values["c"], "d": values["d"]}


def test_what_clips_is_as_far_off_as_its_operands() -> None:
    shapes = {"x": [4, 64], "w": [64, 50]}
    model = graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Clip", ["b", "", "high"], ["c"]),
            helper.make_node("Neg", ["c"], ["d"]),
        ],
        {**shapes, "high": []},
        ["a", "b", "c", "d"],
    )
    rng = np.random.default_rng(0)
    case = {name: rng.standard_normal(s, np.float32) for name, s in shapes.items()}
    case["high"] = np.array(2.0, np.float32)
    values = reference_values(model, case, ["a", "b"])
    largest = {name: float(np.abs(value).max()) for name, value in values.items()}
    before = tolerance(model, [case])
    assert before["a"] == pytest.approx(8 * EPS)
    assert before["b"] == pytest.approx(before["a"] * largest["a"] / largest["b"])
    assert before["c"] == pytest.approx(before["a"] * largest["a"] / 2.0)
    assert largest["a"] > 8
    # What is left would not be compared with anything.
    case["high"] = np.array(1e-6, np.float32)
    assert tolerance(model, [case])["c"] == pytest.approx(1e-2)
    # Nothing is cut off here.
    case["high"] = np.array(1e3, np.float32)
    assert tolerance(model, [case])["c"] == pytest.approx(before["b"])


def test_half_precision_has_its_own_eps_and_integers_are_exact() -> None:
    half = graph(
        [
            helper.make_node("MatMul", ["x", "x"], ["y"]),
            helper.make_node("ArgMax", ["y"], ["i"], axis=1),
        ],
        {"x": [4, 4]},
        ["y", "i"],
        TensorProto.FLOAT16,
    )
    assert tolerance(half) == {"y": 2 * float(np.finfo(np.float16).eps), "i": 0.0}


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 3000),
    rows=st.integers(1, 40),
    seed=st.integers(0, 1000),
    relu=st.booleans(),
)
def test_single_precision_stays_within_the_bound(
    length: int, rows: int, seed: int, relu: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((rows, length), (length, 20)))
    x = np.maximum(x, 0) if relu else x
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x.shape, "w": w.shape}, "y"
    )
    got = reference_values(model, {"x": x, "w": w}, ["y"])["y"]
    assert relative_error(got, x.astype(np.float64) @ w.astype(np.float64)) <= tolerance(model)["y"]


@settings(max_examples=100, deadline=None)
@given(length=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_a_folded_normalisation_stays_within_the_bound(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, mean, scale, shift = (
        rng.standard_normal(s).astype(np.float32) for s in ((18, length), (length, 8), 8, 8, 8)
    )
    shapes = {"x": x.shape, "w": w.shape, "b": shift.shape}
    model = graph([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], shapes, "y")
    folded = {"x": x, "w": w * scale, "b": shift - mean * scale}
    got = reference_values(model, folded, ["y"])["y"]
    assert relative_error(got, (x @ w - mean) * scale + shift) <= tolerance(model)["y"]


def test_a_dropped_term_is_outside_the_bound() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((10, 500), (500, 20)))
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x.shape, "w": w.shape}, "y"
    )
    assert relative_error(x[:, 1:] @ w[1:], x @ w) > 100 * tolerance(model)["y"]


def test_relative_error_of_shapes_and_specials() -> None:
    one = np.ones((2, 2), np.float32)
    assert relative_error(one, one.ravel()) == float("inf")
    assert relative_error(one * 1.5, one * 2) == 0.25
    assert not relative_error(one * np.nan, one) <= 1e9


def test_a_cast_to_fewer_digits_rounds() -> None:
    def casts(to: int) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Exp", ["x"], ["e"]),
            helper.make_node("Cast", ["e"], ["y"], to=to),
        ]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])]
        outputs = [helper.make_tensor_value_info("y", to, [4])]
        body = helper.make_graph(nodes, "casts", inputs, outputs)
        return onnx.shape_inference.infer_shapes(helper.make_model(body))

    exact = tolerance(casts(TensorProto.DOUBLE))["y"]
    single = 2 * float(np.finfo(np.float32).eps)
    assert exact == pytest.approx(single)
    half = tolerance(casts(TensorProto.FLOAT16))["y"]
    assert half == pytest.approx(single + float(np.finfo(np.float16).eps))
    assert tolerance(casts(TensorProto.INT32))["y"] == 0
