"""Deformable convolution: `edgeconv::deform_conv2d` in PyTorch, DeformConv in ONNX.

`torchvision::deform_conv2d` becomes the same ONNX operator.

Every tap of the kernel reads the input at a place of its own, moved by an offset that is computed
at run time, and interpolates between the four pixels around it:

    y[n, o, p] = bias[o] + sum over c, t: weight[o, c, t] * mask[n, t, p] * x[n, c, place(n, t, p)]
    place(n, t, p) = p * stride - padding + t * dilation + offset[n, t, p]

Dai et al., "Deformable Convolutional Networks", arXiv:1703.06211; with the mask, Zhu et al.,
"Deformable ConvNets v2", arXiv:1811.11168. Layouts and borders are those of torchvision's
`deform_conv2d` and of ONNX's DeformConv (opset 19).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgeconv.errors import UsageError
from edgeconv.ops.op import Op

if TYPE_CHECKING:
    import onnx

    from edgeconv.compiler.importer.converter import Arguments
    from edgeconv.compiler.importer.node import Node
    from edgeconv.exporter.graph import ValueType


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve with taps moved by `offset`; exported programs keep it as one operator.

    The groups follow from the shape of `weight`, the offset groups G from that of `offset`.
    Outside of the input there are zeros, also for interpolation; an offset that is not a number
    reads zero.

    Args:
        x: (N, C, H, W), floating point.
        offset: (N, 2 * G * KH * KW, OH, OW), pixels: for each group, for each tap in row-major
            order, first down (y), then right (x).
        weight: (O, C / groups, KH, KW).
        bias: (O,), or None for zeros.
        stride: step of the kernel (down, right).
        padding: zeros on either side (vertical, horizontal).
        dilation: distance between neighbouring taps (down, right).
        mask: (N, G * KH * KW, OH, OW), a factor for each sample; None for ones.

    Returns:
        (N, O, OH, OW).

    Raises:
        UsageError: the shapes do not fit together.
    """
    groups, offset_groups = _groups(x, offset, weight)
    size = _output_size(x, weight, stride, padding, dilation)
    taps = weight.shape[2] * weight.shape[3]
    _expect("offset", offset, (x.shape[0], 2 * offset_groups * taps, *size))
    if mask is not None:
        _expect("mask", mask, (x.shape[0], offset_groups * taps, *size))
    if bias is not None:
        _expect("bias", bias, (weight.shape[0],))
    y: Tensor = _deform_conv2d(
        x,
        offset,
        weight,
        bias,
        mask,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        offset_groups=offset_groups,
    )
    return y


def _groups(x: Tensor, offset: Tensor, weight: Tensor) -> tuple[int, int]:
    channels, outs, per_group = x.shape[1], weight.shape[0], weight.shape[1]
    taps = weight.shape[2] * weight.shape[3]
    if channels % per_group or outs % (channels // per_group):
        raise UsageError(
            f"weight {tuple(weight.shape)} does not fit {channels} input channels: they must be "
            "a multiple of its second axis, and its first axis a multiple of the groups"
        )
    offset_groups = offset.shape[1] // (2 * taps)
    if offset.shape[1] % (2 * taps) or offset_groups == 0 or channels % offset_groups:
        raise UsageError(
            f"offset {tuple(offset.shape)} does not fit {taps} taps and {channels} input "
            "channels: its second axis is 2 * taps * groups, with groups that divide the channels"
        )
    return channels // per_group, offset_groups


def _output_size(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    return tuple(
        (size + 2 * p - d * (kernel - 1) - 1) // s + 1
        for size, kernel, s, p, d in zip(
            x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    )


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise UsageError(f"{name} is {tuple(tensor.shape)}; it must be {shape}")


def _define(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    offset_groups: int,
) -> Tensor:
    """Compute the operator as it is defined: sample every tap, then multiply matrices."""
    batch, channels, _, _ = x.shape
    height, width = offset.shape[2:]
    kernel = weight.shape[2:]
    taps = kernel[0] * kernel[1]

    moved = offset.reshape(batch, offset_groups, *kernel, 2, height, width)
    geometry = tuple(zip(stride, padding, dilation, strict=True))
    rows = _places(kernel[0], height, geometry[0], like=offset)
    columns = _places(kernel[1], width, geometry[1], like=offset)
    down = moved[:, :, :, :, 0] + rows[:, None, :, None]
    right = moved[:, :, :, :, 1] + columns[:, None, :]
    samples = _bilinear(x.reshape(batch, offset_groups, -1, *x.shape[2:]), down, right)
    if mask is not None:
        samples = samples * mask.reshape(batch, offset_groups, 1, taps * height * width)

    panels = samples.reshape(batch, groups, channels // groups * taps, height * width)
    matrices = weight.reshape(groups, weight.shape[0] // groups, -1)
    y = torch.matmul(matrices, panels).reshape(batch, -1, height, width)
    return y if bias is None else y + bias[:, None, None]


_deform_conv2d = torch.library.custom_op("edgeconv::deform_conv2d", _define, mutates_args=())


def _places(taps: int, windows: int, geometry: tuple[int, int, int], *, like: Tensor) -> Tensor:
    """Return where an ordinary convolution reads along one axis: (taps, windows)."""
    stride, padding, dilation = geometry
    tap, window = (
        torch.arange(count, dtype=like.dtype, device=like.device) for count in (taps, windows)
    )
    return tap[:, None] * dilation + window * stride - padding


def _bilinear(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Sample (N, G, C/G, H, W) at coordinates (N, G, KH, KW, OH, OW); (N, G, C/G, KH*KW*OH*OW)."""
    height, width = x.shape[3:]
    pixels = x.flatten(3)
    down, right = down.flatten(2), right.flatten(2)
    top, left = down.floor(), right.floor()
    samples = pixels.new_zeros(())
    for row, row_weight in ((top, top + 1 - down), (top + 1, down - top)):
        for column, column_weight in ((left, left + 1 - right), (left + 1, right - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            factor = torch.where(inside, row_weight * column_weight, 0)
            # Not a number and infinity are outside too, but may not become an index.
            index = _integer(row, inside) * width + _integer(column, inside)
            corner = pixels.gather(3, index[:, :, None].expand(-1, -1, x.shape[2], -1))
            corner = torch.where(inside[:, :, None], corner, 0)
            samples = samples + corner * factor[:, :, None]
    return samples


def _integer(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0).long()


@_deform_conv2d.register_fake
def _fake(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    offset_groups: int,
) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:])


def _save(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor
) -> None:
    ctx.save_for_backward(*inputs)
    ctx.geometry = keyword_only_inputs


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Differentiate the definition, computed once more."""
    with torch.enable_grad():
        inputs: list[Any] = [
            None if t is None else t.detach().requires_grad_() for t in ctx.saved_tensors
        ]
        output = _define(*inputs, **ctx.geometry)
    given = [t for t in inputs if t is not None]
    gradients = iter(torch.autograd.grad(output, given, gradient))
    return tuple(None if t is None else next(gradients) for t in inputs)


_deform_conv2d.register_autograd(_backward, setup_context=_save)


def _to_onnx(
    x: Any,
    offset: Any,
    weight: Any,
    bias: Any,
    mask: Any,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    offset_groups: int,
) -> Any:
    from onnxscript import opset19

    return opset19.DeformConv(
        x,
        weight,
        offset,
        bias,
        mask,
        strides=stride,
        pads=[*padding, *padding],
        dilations=dilation,
        group=groups,
        offset_group=offset_groups,
    )


def _torchvision_to_onnx(x: Any, weight: Any, offset: Any, mask: Any, bias: Any, *rest: int) -> Any:
    """Take the arguments of torchvision's operator: (down, right) pairs are two arguments each."""
    *geometry, groups, offset_groups, use_mask = rest
    return _to_onnx(
        x,
        offset,
        weight,
        bias,
        mask if use_mask else None,
        stride=geometry[:2],
        padding=geometry[2:4],
        dilation=geometry[4:],
        groups=groups,
        offset_groups=offset_groups,
    )


def _refuse(node: Node) -> str | None:
    if node.rank() != 4:
        return f"{node.rank() - 2} spatial axes; only images are supported"
    return None


def _convert(builder: Any, node: Node, arguments: Arguments) -> Any:
    """Sample, then multiply matrices over taps and channels."""
    from tvm import relax

    from edgeconv.compiler.compute.deformable import Sampling, deformable_columns
    from edgeconv.compiler.compute.window import Window

    out_channels, channels, *kernel = node.shape(1)
    pads = node.attributes.get("pads", (0, 0, 0, 0))
    window = Window(
        kernel=tuple(kernel),
        stride=tuple(node.attributes.get("strides", (1, 1))),
        pad_before=tuple(pads[:2]),
        pad_after=tuple(pads[2:]),
        dilation=tuple(node.attributes.get("dilations", (1, 1))),
    )
    sampling = Sampling(
        window,
        channels=node.shape(0)[1],
        offset_groups=node.attributes.get("offset_group", 1),
        image=node.shape(0)[2:],
        size=node.shape(2)[2:],
    )
    moves = [
        _reshaped(builder, node, arguments, index, (*node.shape(index)[:2], sampling.pixels))
        for index in (2, 4)
        if node.has_input(index)
    ]
    columns = builder.emit(
        builder.call_te(
            lambda *operands: deformable_columns(*operands, sampling=sampling),
            arguments[0],
            *moves,
            primfunc_name_hint="deformable_columns",
            primfunc_attrs=sampling.attributes(),
        )
    )
    weight = _reshaped(builder, node, arguments, 1, (out_channels, channels * window.taps, 1, 1))
    product = relax.op.nn.conv2d(columns, weight, groups=node.attributes.get("group", 1))
    if not node.has_input(3):
        return product
    bias = _reshaped(builder, node, arguments, 3, (1, out_channels, 1, 1))
    return relax.op.add(builder.emit(product), bias)


def _reshaped(
    builder: Any, node: Node, arguments: Arguments, index: int, shape: tuple[int, ...]
) -> Any:
    """Return an input in another shape; a constant stays one."""
    from tvm import relax

    from edgeconv.compiler.graph import constant

    value = node.constant(index)
    if value is not None:
        return constant(value.reshape(shape))
    return builder.emit(relax.op.reshape(arguments[index], shape))


def _products(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    """Return the products that one element of the output sums."""
    return math.prod(types[node.input[1]].shape[1:])


def _macs(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return types[node.output[0]].elements * _products(node, types)


OP = Op(
    "DeformConv",
    translations={
        "edgeconv::deform_conv2d": _to_onnx,
        "torchvision::deform_conv2d": _torchvision_to_onnx,
    },
    convert=_convert,
    refuse=_refuse,
    family="deformable",
    accumulation_length=_products,
    macs=_macs,
)
