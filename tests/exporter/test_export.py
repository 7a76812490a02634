import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edgeconv.errors import NumericError, UnsupportedModelError, UsageError
from edgeconv.exporter import (
    Exported,
    export,
    model_bytes,
    recall,
    reference_values,
    relative_error,
    remember,
    tolerance,
    write_onnx,
)
from edgeconv.exporter import exporting as exporting_module
from edgeconv.exporter.graph import value_types
from edgeconv.frontend import load_source

TINY = ["zoo:efficientnet_lite0/tiny", "zoo:mobilenet_v2/tiny", "zoo:resnet18/tiny"]


def export_module(module: nn.Module, *shape: int) -> Exported:
    return export(load_source(module, example_inputs=torch.ones(shape)))


@pytest.fixture(scope="module")
def resnet() -> Exported:
    return export(load_source("zoo:resnet18/tiny"))


@pytest.mark.parametrize("name", TINY)
def test_zoo_networks_agree_with_onnx_runtime_well_within_tolerance(name: str) -> None:
    exported = export(load_source(name))
    # "Same" padding is part of the convolutions, batch norm of their weights.
    ops = {node.op_type for node in exported.model.graph.node}
    assert ops <= {"Conv", "Clip", "Relu", "Add", "MaxPool", "ReduceMean", "Reshape", "Gemm"}
    assert [case.label for case in exported.golden] == ["seed 1", "seed 2"]
    limits = tolerance(exported.model)
    for case in exported.golden:
        got = reference_values(exported.model, case.inputs, ["output"])
        error = relative_error(got["output"], case.outputs["output"])
        assert error < limits["output"] / 4 < 1e-4


def test_the_graph_is_static_folded_and_plainly_named(resnet: Exported) -> None:
    model = resnet.model
    assert model.opset_import[0].version == 20
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["output"]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {"stem.conv", "blocks.1.shortcut.conv", "blocks.2.add", "classifier"} <= set(names)
    for node in model.graph.node[:-1]:
        assert list(node.output) == [node.name]
    types = value_types(model)
    assert all(name in types for node in model.graph.node for name in node.output)


def test_nothing_of_the_exporting_machine_is_in_the_model(resnet: Exported) -> None:
    data = model_bytes(resnet.model)
    for text in (str(Path(__file__).parents[2]), sys.prefix, ".py", "stack_trace"):
        assert text.encode() not in data


def test_equal_modules_give_equal_bytes_in_another_process_and_no_chatter(
    resnet: Exported,
) -> None:
    code = (
        "import sys\n"
        "from edgeconv.exporter import export\n"
        "from edgeconv.frontend import load_source\n"
        "print(export(load_source('zoo:resnet18/tiny')).sha256)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == resnet.sha256 + "\n"
    assert done.stderr == ""


def test_the_modules_mode_and_weights_stay_as_they_were() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train()
    module[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    threads = torch.get_num_threads()
    export_module(module, 2, 3, 4, 4)
    assert [layer.training for layer in module.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.get_num_threads() == threads


def test_several_inputs_and_outputs_keep_their_names() -> None:
    class Net(nn.Module):
        def forward(self, left, right):
            return {"sum": left + right, "index": right.argmax(1)}

    exported = export(load_source(Net(), input_shapes={"left": (1, 5), "right": (1, 5)}))
    case = exported.golden[0]
    assert list(case.inputs) == ["left", "right"]
    np.testing.assert_array_equal(case.outputs["sum"], case.inputs["left"] + case.inputs["right"])
    assert case.outputs["index"].dtype == np.int64
    assert tolerance(exported.model)["index"] == 0


def test_given_golden_inputs_are_used() -> None:
    source = load_source(nn.ReLU(), example_inputs=torch.ones(1, 3))
    x = np.float32([[-1, 0, 2]])
    (case,) = export(source, golden_inputs=[{"input": x}]).golden
    assert case.outputs["output"].tolist() == [[0, 0, 2]]
    for wrong, message in [
        ([], "empty"),
        ([{"x": x}], "the model's are input"),
        ([{"input": x[:, :2]}], r"case 0, input input is float32 \(1, 2\)"),
        ([{"input": x.astype(np.float64)}], "float64"),
    ]:
        with pytest.raises(UsageError, match=message):
            export(source, golden_inputs=wrong)


def test_onnx_files_are_folded_and_keep_their_value_names(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Reshape", ["x", "flat"], ["flattened"]),
        helper.make_node("Relu", ["flattened"], ["y"]),
        helper.make_node("Mul", ["two", "two"], ["four"]),
        helper.make_node("Mul", ["y", "four"], ["z"]),
    ]
    flat = onnx.numpy_helper.from_array(np.int64([1, -1]), "flat")
    two = onnx.numpy_helper.from_array(np.float32([2]), "two")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["a", "b"])],
        [flat, two],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    exported = export(load_source(path, input_shapes={"x": (3, 4)}))
    nodes = exported.model.graph.node
    assert [node.op_type for node in nodes] == ["Reshape", "Relu", "Mul"]
    assert [node.output[0] for node in nodes] == ["flattened", "y", "z"]
    case = exported.golden[0]
    want = np.maximum(case.inputs["x"].reshape(1, -1), 0) * 4
    np.testing.assert_array_equal(case.outputs["z"], want)


def test_a_shape_that_depends_on_the_data_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedModelError, match=r"shape of y .NonZero"):
        export(load_source(tmp_path / "net.onnx"))


def test_modules_that_cannot_be_traced_are_refused() -> None:
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedModelError, match="module Branch: cannot be exported to ONNX"):
        export_module(Branch(), 1, 3)


def test_modules_that_fail_on_their_inputs_say_which() -> None:
    with pytest.raises(UsageError, match=r"fails on inputs input \(1, 4, 5, 5\)"):
        export_module(nn.Conv2d(3, 4, 1), 1, 4, 5, 5)


def test_outputs_that_are_not_finite_are_refused() -> None:
    class Log(nn.Module):
        def forward(self, x):
            return torch.log(x)

    with pytest.raises(NumericError, match="output of the original is not finite"):
        export_module(Log(), 1, 50)


def test_a_wrong_translation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: onnx.ModelProto, *_: object) -> onnx.ModelProto:
        tidied = real(model, *_)
        weight = tidied.graph.initializer[0]
        values = onnx.numpy_helper.to_array(weight) * np.float32(1.001)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return tidied

    real = exporting_module.tidy
    monkeypatch.setattr(exporting_module, "tidy", wrong)
    with pytest.raises(NumericError, match="output output of the exported ONNX model differs"):
        export_module(nn.Conv2d(3, 4, 1), 1, 3, 5, 5)


def test_exported_programs_keep_module_names(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    sizes = {2: torch.export.Dim("height", min=4)}
    program = torch.export.export(module, (torch.zeros(1, 3, 8, 8),), dynamic_shapes=(sizes,))
    torch.export.save(program, tmp_path / "net.pt2")
    source = load_source(tmp_path / "net.pt2", input_shapes={"input": (1, 3, 11, 8)})
    exported = export(source)
    assert [(node.op_type, node.name) for node in exported.model.graph.node] == [
        ("Conv", "0"),
        ("Relu", "2"),
    ]
    assert exported.golden[0].outputs["output"].shape == (1, 4, 9, 6)


def test_intermediate_values(resnet: Exported) -> None:
    case = resnet.golden[0]
    values = reference_values(resnet.model, case.inputs, ["stem.conv", "stem.activation", "output"])
    np.testing.assert_array_equal(values["stem.activation"], np.maximum(values["stem.conv"], 0))
    with pytest.raises(UsageError, match="no value called nothing"):
        reference_values(resnet.model, case.inputs, ["nothing"])
    with pytest.raises(UsageError, match="fails on these inputs"):
        reference_values(resnet.model, {"image": case.inputs["image"][:, :2]}, ["output"])


def test_models_are_remembered_by_content(
    resnet: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert recall(resnet.sha256) is None
    path = remember(resnet)
    assert path == tmp_path / "edgeconv" / "onnx" / f"{resnet.sha256}.onnx"
    assert recall(resnet.sha256) == resnet.model
    path.write_bytes(path.read_bytes()[:-1])
    assert recall(resnet.sha256) is None
    with pytest.raises(UsageError, match="no SHA-256"):
        recall("../" + resnet.sha256)


def test_written_files_load_again_as_the_same_model(resnet: Exported, tmp_path: Path) -> None:
    write_onnx(resnet, tmp_path / "net.onnx")
    again = export(load_source(tmp_path / "net.onnx"))
    assert [n.name for n in again.model.graph.node] == [n.name for n in resnet.model.graph.node]
    case = resnet.golden[0]
    got = reference_values(again.model, case.inputs, ["output"])
    assert relative_error(got["output"], case.outputs["output"]) < tolerance(again.model)["output"]
