"""ONNX files of any producer: opsets, old habits, several inputs and outputs, dtypes."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.exporter import export, relative_error
from edgeconv.frontend import load_source

FLOAT = TensorProto.FLOAT
# The newest IR version of each opset's time.
IR = {9: 4, 11: 6, 13: 7, 17: 8, 21: 10, 22: 10, 23: 11}


def write(
    path: Path, nodes, inputs, outputs, constants=None, *, opset: int = 20, listed: bool = False
) -> Path:
    """Write a graph; inputs and outputs are (name, element type, shape)."""
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    values = [helper.make_tensor_value_info(*given) for given in inputs]
    if listed:
        values += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    results = [helper.make_tensor_value_info(*given) for given in outputs]
    graph = helper.make_graph(nodes, "net", values, results, tensors)
    imports = [helper.make_opsetid("", opset)]
    version = 3 if listed else IR.get(opset, 9)
    model = helper.make_model(graph, opset_imports=imports, ir_version=version)
    path.write_bytes(model.SerializeToString())
    return path


def network(opset: int):
    """A small classifier head in the words of each opset, with a sub-graph of shapes."""
    node = helper.make_node
    constants = {
        "w": np.linspace(-1, 1, 108, dtype=np.float32).reshape(4, 3, 3, 3),
        "low": np.float32(0),
        "high": np.float32(6),
        "roi": np.float32([]),
        "twice": np.float32([1, 1, 2, 2]),
        "zero": np.int64(0),
        "rest": np.int64([-1]),
        "spatial": np.int64([2, 3]),
        "front": np.int64([0]),
        "halves": np.int64([2, 2]),
    }
    if opset < 13:
        squeeze = [
            node("Unsqueeze", ["batch"], ["batch1"], axes=[0]),
            node("Squeeze", ["pooled"], ["flat"], axes=[2, 3]),
            node("Split", ["flat"], ["left", "right"], axis=1, split=[2, 2]),
        ]
    else:
        squeeze = [
            node("Unsqueeze", ["batch", "front"], ["batch1"]),
            node("Squeeze", ["pooled", "spatial"], ["flat"]),
            node("Split", ["flat", "halves"], ["left", "right"], axis=1),
        ]
    if opset < 18:
        mean = node("ReduceMean", ["up"], ["pooled"], axes=[2, 3])
    else:
        mean = node("ReduceMean", ["up", "spatial"], ["pooled"])
    nodes = [
        node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1]),
        node("Clip", ["conv", "low", "high"], ["clipped"]),
        node("Resize", ["clipped", "roi", "twice"], ["up"], mode="nearest"),
        mean,
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "zero"], ["batch"]),
        *squeeze,
        node("Softmax", ["clipped"], ["chances"], axis=1),
        node("Concat", ["batch1", "rest"], ["shape"], axis=0),
        node("Reshape", ["clipped", "shape"], ["rows"]),
    ]
    return nodes, constants


@pytest.mark.parametrize("opset", [11, 13, 17, 21, 22, 24])
def test_every_opset_computes_what_it_did(tmp_path: Path, opset: int) -> None:
    nodes, constants = network(opset)
    outputs = [("rows", FLOAT, ["n", None]), ("left", FLOAT, ["n", 2]), ("right", FLOAT, ["n", 2])]
    outputs.append(("chances", FLOAT, ["n", 4, "h", "w"]))
    inputs = [("x", FLOAT, ["n", 3, "h", "w"])]
    path = write(tmp_path / "net.onnx", nodes, inputs, outputs, constants, opset=opset)
    source = load_source(path, input_shapes={"x": (2, 3, 5, 6)})
    exported = export(source)
    assert exported.model.opset_import[0].version >= 20
    assert not {"Shape", "Gather", "Concat", "Unsqueeze"} & {
        node.op_type for node in exported.model.graph.node
    }
    case = exported.golden[0]
    x = case.inputs["x"]
    clipped = clipped_convolution(x, constants["w"])
    # Before opset 13, Softmax flattened what follows its axis.
    axes = (1, 2, 3) if opset < 13 else 1
    powers = np.exp(clipped)
    halves = clipped.mean((2, 3))
    want = {
        "rows": clipped.reshape(2, -1),
        "left": halves[:, :2],
        "right": halves[:, 2:],
        "chances": powers / powers.sum(axes, keepdims=True),
    }
    for name, values in want.items():
        assert relative_error(case.outputs[name], values) < 1e-5, name


def clipped_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.clip(np.einsum("nchwij,ocij->nohw", windows, weight), 0, 6).astype(np.float32)


@pytest.mark.parametrize("opset", [5, 999])
def test_other_opsets_are_refused(tmp_path: Path, opset: int) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    x, y = ("x", FLOAT, [2]), ("y", FLOAT, [2])
    with pytest.raises(UnsupportedModelError, match=rf"opset {opset}; edgeconv reads opset 6 to"):
        load_source(write(tmp_path / "net.onnx", nodes, [x], [y], opset=opset))


def test_weights_that_are_inputs_as_well(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    x, y = ("x", FLOAT, [2]), ("y", FLOAT, [2])
    constants = {"w": np.float32([3])}
    path = write(tmp_path / "net.onnx", nodes, [x], [y], constants, opset=11, listed=True)
    exported = export(load_source(path))
    case = exported.golden[0]
    assert list(case.inputs) == ["x"]
    np.testing.assert_array_equal(case.outputs["y"], case.inputs["x"] * 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8, np.int32, np.int64])
def test_dtypes_of_inputs_are_kept(tmp_path: Path, dtype: type) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    values = [(name, kind, [2, 3]) for name in "aby"]
    exported = export(load_source(write(tmp_path / "net.onnx", nodes, values[:2], values[2:])))
    case = exported.golden[0]
    for array in (*case.inputs.values(), case.outputs["y"]):
        assert array.dtype == dtype
    np.testing.assert_array_equal(case.outputs["y"], case.inputs["a"] + case.inputs["b"])


def test_boolean_and_integer_inputs_beside_each_other(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Where", ["mask", "x", "other"], ["chosen"]),
        helper.make_node("Gather", ["chosen", "index"], ["y"], axis=1),
        helper.make_node("Not", ["mask"], ["flipped"]),
    ]
    inputs = [
        ("mask", TensorProto.BOOL, [2, 3]),
        ("x", FLOAT, [2, 3]),
        ("index", TensorProto.INT64, [4]),
    ]
    outputs = [("y", FLOAT, [2, 4]), ("flipped", TensorProto.BOOL, [2, 3])]
    path = write(tmp_path / "net.onnx", nodes, inputs, outputs, {"other": np.float32(9)})
    case = export(load_source(path)).golden[0]
    given = case.inputs
    want = np.where(given["mask"], given["x"], np.float32(9))[:, given["index"]]
    np.testing.assert_array_equal(case.outputs["y"], want)
    np.testing.assert_array_equal(case.outputs["flipped"], ~given["mask"])


@pytest.mark.parametrize(
    "kind",
    [TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN],
)
def test_other_dtypes_are_refused(tmp_path: Path, kind: int) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = write(tmp_path / "net.onnx", nodes, [("x", kind, [2])], [("y", kind, [2])])
    with pytest.raises(UnsupportedModelError, match="input x is"):
        load_source(path)


def test_wrong_types_inside_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "i"], ["y"])]
    x, y = ("x", FLOAT, [2]), ("y", FLOAT, [2])
    path = write(tmp_path / "net.onnx", nodes, [x], [y], {"i": np.int64([1, 2])})
    with pytest.raises(UnsupportedModelError):
        export(load_source(path))


def test_examples_of_the_wrong_dtype_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path = write(tmp_path / "net.onnx", nodes, [("x", FLOAT, [2])], [("y", FLOAT, [2])])
    with pytest.raises(UsageError, match="x is float32, the example is float64"):
        load_source(path, example_inputs=[np.zeros(2)])


def test_nodes_of_one_name_are_taken(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["t"], name="same"),
        helper.make_node("Neg", ["t"], ["u"], name="same"),
        helper.make_node("Abs", ["u"], ["y"], name="same_1"),
    ]
    path = write(tmp_path / "net.onnx", nodes, [("x", FLOAT, [2])], [("y", FLOAT, [2])])
    exported = export(load_source(path))
    assert [node.name for node in exported.model.graph.node] == ["same_2", "same_3", "same_1"]


def again(item: str, first: list, inputs: list, constants: list) -> None:
    """Use a value's name a second time."""
    if item == "output":
        first.append(helper.make_node("Neg", ["x"], ["t"]))
    elif item == "input":
        inputs.append(inputs[0])
    elif item == "constant":
        constants.append(constants[0])
    else:
        constants.append(numpy_helper.from_array(np.ones(2, np.float32), "t"))


@pytest.mark.parametrize("item", ["output", "input", "constant", "constant and output"])
def test_values_of_one_name_are_refused(tmp_path: Path, item: str) -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["t"])]
    inputs = [helper.make_tensor_value_info("x", FLOAT, [2])]
    constants = [numpy_helper.from_array(np.ones(2, np.float32), "w")]
    again(item, nodes, inputs, constants)
    nodes.append(helper.make_node("Relu", ["t"], ["y"]))
    outputs = [helper.make_tensor_value_info("y", FLOAT, [2])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"net\.onnx: not a valid ONNX model"):
        export(load_source(path))


def test_what_the_optimiser_and_onnx_runtime_refuse_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # bfloat16 is in the standard's LRN, not in ONNX Runtime's, and the evaluator's is wrong.
    kind = TensorProto.BFLOAT16
    cast = helper.make_node("Cast", ["x"], ["b"], to=kind)
    back = helper.make_node("Cast", ["r"], ["y"], to=FLOAT)
    path = write(
        tmp_path / "half.onnx",
        [cast, helper.make_node("LRN", ["b"], ["r"], size=1), back],
        [("x", FLOAT, [1, 1, 2, 2])],
        [("y", FLOAT, [1, 1, 2, 2])],
    )
    with pytest.raises(UnsupportedModelError, match=r"half\.onnx: ONNX Runtime .*wrong for LRN"):
        export(load_source(path))

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("cannot read")

    monkeypatch.setattr("onnxscript.optimizer.fold_constants", fail)
    with pytest.raises(UnsupportedModelError, match=r"half\.onnx: the ONNX model cannot be simpl"):
        export(load_source(path))


def test_unknown_operators_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"])]
    path = write(tmp_path / "net.onnx", nodes, [("x", FLOAT, [2])], [("y", FLOAT, [2])])
    with pytest.raises(UnsupportedModelError, match="Frobnicate"):
        load_source(path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    x, y = ("x", FLOAT, [64]), ("y", FLOAT, [64])
    path = write(tmp_path / "net.onnx", nodes, [x], [y], {"w": np.ones(64, np.float32)})
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(UnsupportedModelError):
            export(load_source(path))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_weights_are_refused(tmp_path: Path, dtype: type) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    constants = {"w": np.array([1, np.nan], dtype)}
    path = write(tmp_path / "net.onnx", nodes, [("x", kind, [2])], [("y", kind, [2])], constants)
    with pytest.raises(UnsupportedModelError, match=r"net\.onnx: the weights w hold NaN"):
        load_source(path)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(constants["w"], "c")),
        *nodes,
    ]
    path = write(tmp_path / "net.onnx", nodes, [("x", kind, [2])], [("y", kind, [2])])
    with pytest.raises(UnsupportedModelError, match="weights c hold NaN"):
        load_source(path)
