"""`torchvision::deform_conv2d` in a user's network, with a stand-in of torchvision's schema."""

import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch

import edgeconv
from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend import modelfile, operators
from edgeconv.ops.deform_conv import deform_conv2d

SCHEMA = """deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias,
    SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h,
    SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor"""
GEOMETRY = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}


class Network(torch.nn.Module):
    """A call as `torchvision.ops.deform_conv2d` makes it: zeros where the mask is left out."""

    def __init__(self, modulated: bool) -> None:
        super().__init__()
        self.offset = torch.nn.Conv2d(4, 36, 3, (2, 1), (1, 0), (1, 2))
        self.modulation = torch.nn.Conv2d(4, 18, 3, (2, 1), (1, 0), (1, 2))
        self.weight = torch.nn.Parameter(torch.randn(6, 2, 3, 3) * 0.3)
        self.bias = torch.nn.Parameter(torch.randn(6))
        self.modulated = modulated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.sigmoid(self.modulation(x)) if self.modulated else torch.zeros(x.shape[0], 1)
        geometry = (number for pair in GEOMETRY.values() for number in pair)
        return torch.ops.torchvision.deform_conv2d(
            x, self.weight, self.offset(x), mask, self.bias, *geometry, 2, 2, self.modulated
        )

    def ours(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.sigmoid(self.modulation(x)) if self.modulated else None
        return deform_conv2d(x, self.offset(x), self.weight, self.bias, mask=mask, **GEOMETRY)


@pytest.fixture
def torchvision():
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(SCHEMA)

    def compute(x, weight, offset, mask, bias, *rest):
        *pairs, _, _, use_mask = rest
        geometry = dict(zip(GEOMETRY, (pairs[:2], pairs[2:4], pairs[4:]), strict=True))
        return deform_conv2d(x, offset, weight, bias, mask=mask if use_mask else None, **geometry)

    library.impl("deform_conv2d", compute, "CPU")
    torch.library.register_fake(
        "torchvision::deform_conv2d",
        lambda x, weight, offset, *rest: x.new_empty(
            x.shape[0], weight.shape[0], *offset.shape[2:]
        ),
        lib=library,
    )
    yield
    library._destroy()


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("kind", ["module", "pt2", "torchscript"])
def test_it_becomes_the_standard_operator(kind, modulated, tmp_path) -> None:
    torch.manual_seed(0)
    network, x = Network(modulated).eval(), torch.randn(2, 4, 7, 8)
    path, shapes = tmp_path / "net.pt", {"x": tuple(x.shape)}
    if kind == "module":
        exported = edgeconv.export(network, [x])
    elif kind == "pt2":
        torch.export.save(torch.export.export(network, (x,)), path.with_suffix(".pt2"))
        exported = edgeconv.export(path.with_suffix(".pt2"))
    else:
        torch.jit.save(torch.jit.trace(network, (x,)), path)
        exported = edgeconv.export(path, input_shapes=shapes)
    (node,) = [node for node in exported.model.graph.node if node.op_type == "DeformConv"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert (attributes["group"], attributes["offset_group"]) == (2, 2)
    assert len(node.input) == 4 + modulated
    (case, *_) = exported.golden
    with torch.no_grad():
        want = network.ours(torch.from_numpy(case.inputs["x"]))
    np.testing.assert_allclose(case.outputs["output"], want, atol=1e-5)
    if kind == "module" and modulated:
        edgeconv.compile(network, [x]).verify().raise_if_failed()


def test_a_file_that_needs_torchvision_says_so(tmp_path, monkeypatch) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/models/model.json", '{"target": "torch.ops.torchvision.nms.default"}')
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UnsupportedModelError, match="operators of torchvision, which cannot be"):
        operators.load_operators(modelfile.look_at(path))
