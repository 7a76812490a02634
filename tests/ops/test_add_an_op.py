"""The operator of docs/add-an-op.md, run as it stands there, from outside of the package."""

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from typer.testing import CliRunner

import edgeconv
from edgeconv.cli.app import app
from edgeconv.cli.options import load_plugins
from edgeconv.errors import UsageError
from edgeconv.ops import registry

DOC = Path(__file__).parents[2] / "docs" / "add-an-op.md"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    """The page's code, as the file that it describes."""
    path = tmp_path_factory.mktemp("plugin") / "snake.py"
    path.write_text("\n\n".join(re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.M | re.S)))
    return path


@pytest.fixture(autouse=True)
def _unregistered(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_ADDED", {})


@pytest.fixture
def network(plugin):
    load_plugins([plugin])
    torch.manual_seed(0)
    return sys.modules["edgeconv_plugin_snake"].network()


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize("target", ["host", "rasp2"])
def test_it_is_compiled_and_every_layer_verified(network, target) -> None:
    module, x = network
    artifact = edgeconv.compile(module, [x], target=target)
    report = artifact.verify(per_layer=True)
    report.raise_if_failed()
    # Element-wise, it is computed as the convolution's results are stored.
    layers = [step.layers for step in artifact.plan.steps if "snake" in step.layers]
    assert layers == [("conv", "snake")]


def test_any_runtime_runs_the_exported_file(network) -> None:
    module, x = network
    model = edgeconv.export(module, [x]).model
    assert [node.op_type for node in model.graph.node] == ["Conv", "Snake"]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(
        session.run(None, {"x": x.numpy()})[0], module(x).detach(), atol=1e-5
    )


def test_the_command_line_takes_it_as_a_plugin(network, plugin, tmp_path, monkeypatch) -> None:
    module, x = network
    path, artifact = tmp_path / "net.pt2", tmp_path / "net.edge"
    torch.export.save(torch.export.export(module, (x,)), path)

    def fresh(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(registry, "_ADDED", {})
        return run(*arguments, code=code)

    assert "example" in fresh("inspect", path, code=3)
    shown = fresh("inspect", path, "--target", "host", "--plugin", plugin, "--json")
    assert '"example.Snake"' in shown
    assert '"activation"' in shown
    fresh("compile", path, "--target", "host", "-o", artifact, "--plugin", plugin)
    assert "passed" in fresh("verify", artifact, "--per-layer", "--plugin", plugin)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("opset", [13, 22])
def test_onnx_files_may_hold_the_operator_without_its_function(opset, tmp_path) -> None:
    image = [1, 3, 4, 5]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Snake", ["r"], ["y"], domain="example", alpha=0.25),
    ]
    graph = helper.make_graph(
        nodes,
        "snake",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, image)],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("example", 1)]
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    artifact = edgeconv.compile(path)
    artifact.verify().raise_if_failed()
    inputs, outputs = artifact.golden_cases()[0]
    rectified = np.maximum(inputs["x"], 0)
    np.testing.assert_allclose(
        outputs["y"], rectified + np.sin(0.25 * rectified) ** 2 / 0.25, atol=1e-6
    )


def test_functions_that_are_not_registered_are_inlined(network, tmp_path, monkeypatch) -> None:
    module, x = network
    model = edgeconv.export(module, [x]).model
    monkeypatch.setattr(registry, "_ADDED", {})
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    operators = [node.op_type for node in edgeconv.export(path).model.graph.node]
    assert operators == ["Conv", "Mul", "Sin", "Mul", "Div", "Add"]

    del model.functions[:]
    onnx.save(model, path)
    with pytest.raises(
        edgeconv.errors.UnsupportedModelError, match=r"example\.Snake.*docs/add-an-op\.md"
    ):
        edgeconv.export(path)


def test_a_plugin_that_fails_says_so(tmp_path) -> None:
    path = tmp_path / "broken.py"
    with pytest.raises(UsageError, match=r"broken\.py: no such"):
        load_plugins([path])
    path.write_text("1 / 0")
    with pytest.raises(UsageError, match=r"broken\.py fails: ZeroDivisionError"):
        load_plugins([path])
    path.write_text("from edgeconv.ops import *; register(Op('DeformConv'))")
    with pytest.raises(UsageError, match=r"broken\.py: operator DeformConv .*already"):
        load_plugins([path])
