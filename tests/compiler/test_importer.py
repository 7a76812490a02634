"""What is not supported is refused before anything is compiled, with every node's reason."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import compile_model, graph_model

from edgeconv.compiler import pipeline
from edgeconv.compiler.importer import unsupported
from edgeconv.errors import UnsupportedModelError

X = np.ones((1, 3, 8, 8), np.float32)


def refused(op: str, inputs: list[str], constants=None, **attributes) -> str:
    node = helper.make_node(op, ["x", *inputs], ["y"], name="culprit", **attributes)
    model = graph_model([node], {"x": X}, ["y"], constants)
    return unsupported(model)["culprit"]


def test_every_refused_node_is_named_before_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "compile_kernels", lambda *a, **k: pytest.fail("compiled"))
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Det", ["a"], ["b"], name="first"),
        helper.make_node("RandomNormalLike", ["b"], ["y"], name="second"),
    ]
    with pytest.raises(UnsupportedModelError) as error:
        compile_model(graph_model(nodes, {"x": X}, ["y"]), {"x": X})
    message = str(error.value)
    assert "2 of 3 operators" in message
    assert "first (Det)" in message
    assert "second (RandomNormalLike)" in message
    assert "fine" not in message


def test_custom_domain_is_refused_by_its_name() -> None:
    node = helper.make_node("Mystery", ["x"], ["y"], name="culprit", domain="com.example")
    model = graph_model([helper.make_node("Relu", ["x"], ["y"], name="r")], {"x": X}, ["y"])
    model.graph.node[0].CopyFrom(node)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert unsupported(model) == {"culprit": "no converter for this operator"}


def test_resize_that_is_not_defined_is_refused() -> None:
    roi = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    constants = {"roi": roi, "scales": np.array([1, 1, 2, 2], np.float32)}
    names = ["roi", "scales"]
    assert "antialias" in refused("Resize", names, constants, mode="nearest", antialias=1)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    assert "give sizes" in refused("Resize", names, constants, **crop)


def test_dump_holds_every_stage(tmp_path) -> None:
    from onnx_graphs import exported

    from edgeconv.target import load_target

    weight = np.ones((4, 3, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    model = graph_model([node], {"x": X}, ["y"], {"w": weight})
    pipeline.compile_exported(
        exported(model, {"x": X}), load_target("rasp4"), emit=pipeline.Emit.STATIC, dump=tmp_path
    )
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {"model.onnx", "plan.json", "00_import.relax.py"} <= names
    assert any(name.endswith("_fused.relax.py") for name in names)
    assembly = [p for p in (tmp_path / "kernels").glob("*.s") if "fmla" in p.read_text()]
    assert assembly, "the convolution for cortex-a72 uses fused multiply-adds"
    assert len(list((tmp_path / "kernels").glob("*.o"))) == len(
        list((tmp_path / "kernels").glob("*.tir.py"))
    )
