import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edgeconv.export import export
from edgeconv.frontend import load_source
from edgeconv.inspection import inspect_model, totals


@pytest.mark.parametrize(
    ("layer", "shape", "family", "macs", "parameters"),
    [
        (nn.Conv2d(4, 8, 3), (1, 4, 6, 6), "dense", 8 * 16 * 36, 8 * 36 + 8),
        (nn.Conv2d(4, 8, 1, bias=False), (2, 4, 5, 5), "pointwise", 2 * 8 * 25 * 4, 32),
        (nn.Conv2d(4, 4, 3, groups=4), (1, 4, 6, 6), "depthwise", 4 * 16 * 9, 40),
        (nn.Conv2d(4, 8, 3, groups=4), (1, 4, 6, 6), "depthwise", 8 * 16 * 9, 80),
        (nn.Conv2d(4, 8, 3, groups=2), (1, 4, 6, 6), "grouped", 8 * 16 * 18, 8 * 18 + 8),
        (nn.Conv2d(4, 8, 3, dilation=2), (1, 4, 6, 6), "dilated", 8 * 4 * 36, 8 * 36 + 8),
        (nn.Conv3d(2, 3, 2), (1, 2, 3, 3, 3), "3d", 3 * 8 * 16, 3 * 16 + 3),
        (nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 3, 3), "transposed", 36 * 6 * 4, 96 + 6),
        (nn.Linear(5, 3), (2, 5), "gemm", 30, 18),
        (nn.MaxPool2d(2), (1, 2, 4, 4), "pool", 0, 0),
        (nn.ReLU(), (1, 2, 4, 4), "elementwise", 0, 0),
        (nn.ReLU6(), (1, 2, 4, 4), "elementwise", 0, 0),
        (nn.Softmax(1), (1, 2, 4, 4), "softmax", 0, 0),
        (nn.Flatten(), (1, 2, 4, 4), "movement", 0, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_one_layer(layer: nn.Module, shape: tuple, family: str, macs: int, parameters: int) -> None:
    model = export(load_source(layer, example_inputs=torch.ones(shape))).model
    (described,) = inspect_model(model)
    assert (described.family, described.macs, described.parameters) == (family, macs, parameters)
    assert described.inputs == (shape,)
    with torch.no_grad():
        output = layer(torch.ones(shape))
    assert described.outputs == (tuple(output.shape),)
    assert described.output_bytes == output.numel() * 4


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
