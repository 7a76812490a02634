"""Selection between branches: `edgeconv::selective_kernel`, edgeconv.SelectiveKernel in ONNX.

For each channel, a softmax over the branches weighs the branches' features:

    y[n, c, p] = sum over m: softmax over m (logits[n, m * C + c]) * features[m][n, c, p]

Li et al., "Selective Kernel Networks", arXiv:1903.06586, section 3.1, "Select". The operator begins
after the branches and after the attention that makes the logits: those are convolutions and pools,
whose batch norms are folded and which have kernels; what is left reads every branch once and
writes the sum, with no product in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgeconv.errors import UsageError
from edgeconv.ops.op import Op, emit

if TYPE_CHECKING:
    import onnx

    from edgeconv.compiler.importer.converter import Arguments
    from edgeconv.compiler.importer.node import Node
    from edgeconv.exporter.graph import ValueType

_NAME = "edgeconv.SelectiveKernel"


def selective_kernel(features: Sequence[Tensor], logits: Tensor) -> Tensor:
    """Sum the branches, weighed by a softmax over them; exported programs keep one operator.

    Args:
        features: M branches, (N, C, H, W) each, floating point.
        logits: (N, M * C, 1, 1), one for each branch and channel, branches outermost.

    Returns:
        (N, C, H, W).

    Raises:
        UsageError: the shapes do not fit together.
    """
    # One by one: while a network is traced, sizes are tensors, which a set would keep apart.
    if not features or any(feature.shape != features[0].shape for feature in features):
        shapes = ", ".join(str(tuple(map(int, feature.shape))) for feature in features)
        raise UsageError(f"the branches' features must have one shape, not {shapes}")
    batch, channels, *_ = features[0].shape
    if tuple(logits.shape) != (batch, len(features) * channels, 1, 1):
        raise UsageError(
            f"logits are {tuple(logits.shape)}; for {len(features)} branches of {channels} "
            f"channels they must be {(batch, len(features) * channels, 1, 1)}"
        )
    y: Tensor = _selective_kernel(list(features), logits)
    return y


def _define(features: Sequence[Tensor], logits: Tensor) -> Tensor:
    weights = torch.softmax(torch.unflatten(logits, 1, (len(features), -1)), dim=1)
    first, *others = (f * w for f, w in zip(features, torch.unbind(weights, dim=1), strict=True))
    for other in others:
        first = first + other
    return first


_selective_kernel = torch.library.custom_op("edgeconv::selective_kernel", _define, mutates_args=())


@_selective_kernel.register_fake
def _fake(features: Sequence[Tensor], logits: Tensor) -> Tensor:
    return torch.empty_like(features[0])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, logits = inputs
    ctx.save_for_backward(*features, logits)


def _backward(ctx: Any, gradient: Tensor) -> tuple[list[Tensor], Tensor]:
    """Differentiate the definition, computed once more."""
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
        output = _define(inputs[:-1], inputs[-1])
    *features, logits = torch.autograd.grad(output, inputs, gradient)
    return features, logits


_selective_kernel.register_autograd(_backward, setup_context=_save)


def _to_onnx(features: Sequence[Any], logits: Any) -> Any:
    return emit(_NAME, logits, *features)


def _function(node: onnx.NodeProto) -> str:
    """Return the body for the node's branches; each number of them but two is an overload."""
    count = len(node.input) - 1
    features = [f"x{index}" for index in range(count)]
    weights = [f"w{index}" for index in range(count)]
    products = [f"p{index}" for index in range(count)]
    multiply = "\n".join(
        f"{p} = Mul ({x}, {w})" for p, x, w in zip(products, features, weights, strict=True)
    )
    return f"""
        <domain: "edgeconv", overload: "{"" if count == 2 else count}", opset_import: ["": 20]>
        SelectiveKernel (logits, {", ".join(features)}) => (y)
        {{
            by_branch = Constant <value_ints: ints = [0, {count}, -1, 1, 1]> ()
            by_channel = Constant <value_ints: ints = [0, -1, 1, 1]> ()
            stacked = Reshape (logits, by_branch)
            chosen = Softmax <axis: int = 1> (stacked)
            flat = Reshape (chosen, by_channel)
            {", ".join(weights)} = Split <axis: int = 1, num_outputs: int = {count}> (flat)
            {multiply}
            y = Sum ({", ".join(products)})
        }}
    """


def _convert(builder: Any, node: Node, arguments: Arguments) -> Any:
    """Softmax, then products and a sum over the branches, which fuse into one kernel."""
    from tvm import relax

    logits, *features = arguments
    batch, channels = node.shape(1)[:2]
    stacked = builder.emit(relax.op.reshape(logits, (batch, len(features), channels)))
    weights = builder.emit(relax.op.nn.softmax(stacked, axis=1))
    products = []
    for index, feature in enumerate(features):
        part = builder.emit(relax.op.strided_slice(weights, [1], [index], [index + 1]))
        weight = builder.emit(relax.op.reshape(part, (batch, channels, 1, 1)))
        products.append(relax.op.multiply(feature, weight))
    return reduce(lambda a, b: relax.op.add(builder.emit(a), builder.emit(b)), products)


def _terms(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    """Softmax sums M terms and the selection M more: 2 * sqrt(M) is the root of this."""
    return 4 * (len(node.input) - 1)


def _macs(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return types[node.output[0]].elements * (len(node.input) - 1)


OP = Op(
    _NAME,
    translations={"edgeconv::selective_kernel": _to_onnx},
    function=_function,
    convert=_convert,
    family="selective",
    accumulation_length=_terms,
    macs=_macs,
)
