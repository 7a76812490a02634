import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edgeconv.exporter import export
from edgeconv.frontend import load_source
from edgeconv.inspection import Layer, inspect_model, totals

CASES = {
    "full": (nn.Conv2d(4, 8, 3), (1, 4, 6, 6), "dense", 8 * 16 * 36, 8 * 36 + 8),
    "mix": (nn.Conv2d(4, 8, 1, bias=False), (2, 4, 5, 5), "pointwise", 2 * 8 * 25 * 4, 32),
    "each": (nn.Conv2d(4, 4, 3, groups=4), (1, 4, 6, 6), "depthwise", 4 * 16 * 9, 40),
    "each_twice": (nn.Conv2d(4, 8, 3, groups=4), (1, 4, 6, 6), "depthwise", 8 * 16 * 9, 80),
    "halves": (nn.Conv2d(4, 8, 3, groups=2), (1, 4, 6, 6), "grouped", 8 * 16 * 18, 8 * 18 + 8),
    "gaps": (nn.Conv2d(4, 8, 3, dilation=2), (1, 4, 6, 6), "dilated", 8 * 4 * 36, 8 * 36 + 8),
    "volume": (nn.Conv3d(2, 3, 2), (1, 2, 3, 3, 3), "3d", 3 * 8 * 16, 3 * 16 + 3),
    "up": (nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 3, 3), "transposed", 36 * 6 * 4, 96 + 6),
    "linear": (nn.Linear(5, 3), (2, 5), "gemm", 30, 18),
    "pool": (nn.MaxPool2d(2), (1, 2, 4, 4), "pool", 0, 0),
    "relu": (nn.ReLU(), (1, 2, 4, 4), "elementwise", 0, 0),
    "relu6": (nn.ReLU6(), (1, 2, 4, 4), "elementwise", 0, 0),
    "softmax": (nn.Softmax(1), (1, 2, 4, 4), "softmax", 0, 0),
    "flatten": (nn.Flatten(), (1, 2, 4, 4), "movement", 0, 0),
}


class SideBySide(nn.Module):
    """Every layer on its own input: one export describes them all."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: case[0] for name, case in CASES.items()})

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        named = zip(self.layers.items(), inputs, strict=True)
        return {name: layer(x) for (name, layer), x in named}


@pytest.fixture(scope="module")
def described() -> dict[str, Layer]:
    examples = [torch.ones(shape) for _, shape, *_ in CASES.values()]
    exported = export(load_source(SideBySide(), example_inputs=examples))
    return {layer.name: layer for layer in inspect_model(exported.model)}


@pytest.mark.parametrize("name", CASES)
def test_one_layer(name: str, described: dict[str, Layer]) -> None:
    module, shape, family, macs, parameters = CASES[name]
    layer = described[f"layers.{name}"]
    assert (layer.family, layer.macs, layer.parameters) == (family, macs, parameters)
    assert layer.inputs == (shape,)
    with torch.no_grad():
        output = module(torch.ones(shape))
    assert layer.outputs == (tuple(output.shape),)
    assert layer.output_bytes == output.numel() * 4


def test_deformable_convolution() -> None:
    node = helper.make_node("DeformConv", ["x", "w", "offset"], ["y"], name="bend")
    sizes = {"x": (1, 4, 6, 6), "w": (8, 4, 3, 3), "offset": (1, 18, 4, 4)}
    model = helper.make_model(
        helper.make_graph(
            [node],
            "net",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sizes.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 8, 4, 4))],
        )
    )
    (layer,) = inspect_model(onnx.shape_inference.infer_shapes(model))
    assert (layer.family, layer.macs) == ("deformable", 8 * 16 * 36)


def test_recurrent_layer() -> None:
    shapes = {"x": (5, 2, 7), "w": (2, 24, 7), "r": (2, 24, 6)}
    attributes = {"hidden_size": 6, "direction": "bidirectional"}
    graph = helper.make_graph(
        [helper.make_node("LSTM", list(shapes), ["", "last"], **attributes)],
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, (2, 2, 6))],
    )
    (layer,) = inspect_model(helper.make_model(graph))
    assert (layer.family, layer.outputs) == ("recurrent", ((2, 2, 6),))
    assert layer.macs == 5 * 2 * (2 * 24 * 7 + 2 * 24 * 6)


def test_totals_of_a_network_and_reasons_by_node() -> None:
    source = load_source("zoo:resnet18/tiny")
    model = export(source).model
    layers = inspect_model(model, {"stem_pool": "no max pooling there"})
    assert {layer.unsupported for layer in layers if layer.name != "stem_pool"} == {None}
    (pool,) = (layer for layer in layers if layer.name == "stem_pool")
    assert pool.unsupported == "no max pooling there"
    total = totals(layers)
    assert total.layers == len(model.graph.node)
    convolutions = [m for m in source.module.modules() if isinstance(m, nn.Conv2d)]
    # Folding turns each normalisation into one bias per channel.
    parameters = sum(m.weight.numel() + m.out_channels for m in convolutions) + 17 * 10 + 10
    assert total.parameters == parameters
    assert total.largest_output_bytes == 10 * 16 * 16 * 4
