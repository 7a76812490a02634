"""What the tests of layers share: seeded inputs, the way through ONNX, and naive references."""

import itertools

import numpy as np
import onnxruntime
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from edgeconv.exporter.custom import translation_table
from edgeconv.exporter.functions import attach_functions
from edgeconv.nn import ConvUnit

OPSET = 20


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(module: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module.eval()(*inputs)


def assert_close(got: Tensor | np.ndarray, want: Tensor | np.ndarray, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), atol=atol, rtol=1e-5)


class _Cases(nn.Module):
    """Several layers and batch sizes as one network: exporting has a price per file."""

    def __init__(self, modules: list[nn.Module], counts: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(modules)
        self.counts = counts

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        left = iter(inputs)
        for layer, count in zip(self.layers, self.counts, strict=True):
            for _ in range(2):
                given = tuple(itertools.islice(left, count))
                result = layer(*given)
                outputs.extend([result] if isinstance(result, Tensor) else result)
        return outputs


def assert_exports(*cases: tuple[nn.Module, tuple[tuple[int, ...], ...]]) -> list[str]:
    """Export layers with `torch.export` and to ONNX; ONNX Runtime must agree at batch 1 and 2.

    A case is a layer and its inputs' shapes without the batch axis. Returns the ONNX operators.
    """
    network = _Cases([layer for layer, _ in cases], [len(shapes) for _, shapes in cases]).eval()
    inputs = tuple(
        normal(batch, *shape, seed=index)
        for _, shapes in cases
        for batch in (1, 2)
        for index, shape in enumerate(shapes)
    )
    with torch.no_grad():
        want = network(*inputs)
        program = torch.export.export(network, inputs)
        for got, expected in zip(program.module()(*inputs), want, strict=True):
            assert_close(got, expected)
        exported = torch.onnx.export(
            program,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=translation_table(),
            verbose=False,
        )
    model = exported.model_proto
    attach_functions(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs, strict=True)}
    for got, expected in zip(session.run(None, feeds), want, strict=True):
        assert_close(got, expected)
    return [node.op_type for node in model.graph.node]


def naive_conv(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> np.ndarray:
    """Convolution of (N, C, *size) over any number of axes, as its definition says."""
    axes = range(2, x.ndim)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    spans = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    windows = sliding_window_view(x, spans, axis=tuple(axes))
    steps = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in dilation)
    windows = windows[(slice(None), slice(None), *steps, *taps)]
    outs, ins = weight.shape[0] // groups, weight.shape[1]
    reduced = [1, *range(2 + len(spans), 2 + 2 * len(spans))]
    parts = [
        np.tensordot(
            windows[:, g * ins : (g + 1) * ins],
            weight[g * outs : (g + 1) * outs],
            axes=(reduced, list(range(1, weight.ndim))),
        )
        for g in range(groups)
    ]
    return np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)


def naive_norm(x: np.ndarray, norm: nn.Module) -> np.ndarray:
    """Batch normalisation of (N, C, ...) with the running statistics."""
    scale, shift, mean, var = (
        array(t).reshape(-1, *(1,) * (x.ndim - 2))
        for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    return (x - mean) / np.sqrt(var + norm.eps) * scale + shift


def naive_unit(x: np.ndarray, unit: ConvUnit, *, relu: bool = True) -> np.ndarray:
    """Convolution, batch normalisation, and ReLU where it is asked for."""
    conv = unit.conv
    y = naive_conv(
        x,
        array(conv.weight),
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
    )
    y = naive_norm(y, unit.norm)
    return np.maximum(y, 0) if relu else y


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    shifted = np.exp(x - x.max(axis, keepdims=True))
    return shifted / shifted.sum(axis, keepdims=True)
