"""Damaged files of every kind: a clear refusal, never another exception."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeconv import zoo
from edgeconv.errors import EdgeconvError
from edgeconv.frontend import load_source

pytestmark = pytest.mark.filterwarnings("ignore")

ROUNDS = 60


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


def torchscript(path: Path) -> dict:
    torch.jit.script(network()).save(path)
    return {"input_shapes": {"input": (1, 3, 8, 8)}}


def program(path: Path) -> dict:
    torch.export.save(torch.export.export(network(), (torch.zeros(1, 3, 8, 8),)), path)
    return {}


def weights(path: Path) -> dict:
    torch.save(zoo.load("resnet18", "tiny").state_dict(), path)
    return {"arch": "resnet18/tiny"}


def old_weights(path: Path) -> dict:
    state = zoo.load("resnet18", "tiny").state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return {"arch": "resnet18/tiny"}


def onnx_graph(path: Path) -> dict:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="last"),
    ]
    weight = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, "h", "w"])
    graph = helper.make_graph(nodes, "net", [x], [y], [weight])
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return {"input_shapes": {"x": (1, 3, 8, 8)}}


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (torchscript, "net.ts"),
        (program, "net.pt2"),
        (weights, "net.pt"),
        (old_weights, "net.pth"),
        (onnx_graph, "net.onnx"),
    ],
)
def test_changed_and_cut_files_are_loaded_or_refused(tmp_path: Path, write, name: str) -> None:
    path = tmp_path / name
    options = write(path)
    load_source(path, **options)
    whole = path.read_bytes()
    refusals = []
    for seed in range(ROUNDS):
        draw = random.Random(seed)
        data = bytearray(whole)
        for _ in range(draw.choice([1, 3, 20])):
            # The directories of zips stand at the end, the structure of others at the start.
            place = draw.choice([draw.randrange(len(data)), -1 - draw.randrange(300)])
            data[place] = draw.randrange(256)
        if seed % 5 == 0:
            del data[draw.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            load_source(path, **options)
        except EdgeconvError as refusal:
            refusals.append(str(refusal))
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
    assert len(refusals) > ROUNDS // 5
    assert all(name in refusal for refusal in refusals)
