"""Random configurations of the layers of `edgeconv.nn`."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv import nn as layers
from fuzz.draw import Draw
from fuzz.operators import Drawn

ACTIVATIONS = [None, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU]


class OctaveChain(nn.Module):
    """First, middle and last octave convolution, as they stand in a network."""

    def __init__(self, *convs: nn.Module) -> None:
        super().__init__()
        self.convs = nn.Sequential(*convs)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class OctavePairs(nn.Module):
    """Hands two inputs as a pair of octaves to the layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, high: Tensor, low: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.layer((high, low))


def separable(draw: Draw) -> Drawn:
    ins, outs = draw.channels(24), draw.channels(24)
    kernel, stride = draw.choice([1, 3, 5]), draw.integer(1, 3)
    padding, eps = draw.choice(["symmetric", "same"]), draw.choice([1e-5, 1e-3])
    activation = draw.choice(ACTIVATIONS[1:])
    if draw.chance(0.5):
        module = draw.make(
            layers.DepthwiseSeparable,
            ins,
            outs,
            kernel,
            stride,
            activation=activation,
            padding=padding,
            eps=eps,
        )
    else:
        module = draw.make(
            layers.InvertedResidual,
            ins,
            draw.choice([ins, outs]),
            kernel,
            draw.choice([1, stride]),
            draw.choice([1, 2, 6]),
            dilation=draw.integer(1, 2),
            activation=activation,
            padding=padding,
            eps=eps,
        )
    return module, (_image(draw, ins),)


def conv_norm(draw: Draw) -> Drawn:
    groups = draw.integer(1, 4)
    ins, outs = groups * draw.channels(12), groups * draw.channels(12)
    module = draw.make(
        layers.ConvNorm,
        ins,
        outs,
        draw.choice([1, 3, 5]),
        draw.integer(1, 3),
        dilation=draw.integer(1, 3),
        groups=groups,
        activation=draw.choice(ACTIVATIONS),
        padding=draw.choice(["symmetric", "same"]),
    )
    return module, (_image(draw, ins),)


def residual(draw: Draw) -> Drawn:
    ins, outs, stride = draw.channels(24), draw.channels(24), draw.integer(1, 2)
    kind = draw.choice(["basic", "bottleneck", "resnext"])
    if kind == "basic":
        module = draw.make(layers.BasicBlock, ins, draw.choice([ins, outs]), stride)
    elif kind == "bottleneck":
        module = draw.make(layers.Bottleneck, ins, outs, draw.channels(16), stride)
    else:
        groups = draw.integer(2, 6)
        module = draw.make(
            layers.ResNeXtBottleneck,
            ins,
            outs,
            stride,
            groups=groups,
            width=groups * draw.integer(1, 5),
        )
    return module, (_image(draw, ins),)


def aspp(draw: Draw) -> Drawn:
    ins, rates = draw.channels(16), draw.integers(draw.integer(1, 3), 1, 6)
    if draw.chance(0.5):
        module = draw.make(layers.ASPP, ins, draw.channels(12), rates)
    else:
        module = draw.make(
            layers.DeepLabHead,
            ins,
            draw.integer(1, 9),
            draw.choice([None, draw.integers(2, 1, 24)]),
            channels=draw.channels(12),
            rates=rates,
        )
    return module, (_image(draw, ins),)


def up(draw: Draw) -> Drawn:
    if draw.chance(0.5):
        below, skip = draw.channels(16), draw.channels(12)
        module = draw.make(layers.UpBlock, below, skip, draw.channels(16))
        batch, (height, width) = draw.integer(1, 3), draw.integers(2, 1, 9)
        images = (
            draw.image(batch, below, height, width),
            draw.image(batch, skip, 2 * height, 2 * width),
        )
        return module, images
    groups, stride, kernel = draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 5)
    ins = groups * draw.channels(10)
    module = draw.make(
        layers.TransposedConvNorm,
        ins,
        groups * draw.channels(10),
        kernel,
        stride,
        draw.integer(0, (kernel - 1) // 2),
        output_padding=draw.integer(0, stride - 1),
        groups=groups,
        activation=draw.choice(ACTIVATIONS),
    )
    return module, (_image(draw, ins, 9),)


def volume(draw: Draw) -> Drawn:
    ins, outs, stride = draw.channels(8), draw.channels(8), draw.integer(1, 2)
    kind = draw.choice(["norm", "factored", "block", "separable", "transposed"])
    if kind == "norm":
        groups = draw.integer(1, 3)
        ins *= groups
        module = draw.make(
            layers.ConvNorm3d,
            ins,
            outs * groups,
            draw.choice([1, 3, (1, 3, 3), (3, 1, 1)]),
            draw.choice([1, 2, (1, 2, 2)]),
            dilation=draw.integer(1, 2),
            groups=groups,
            activation=draw.choice(ACTIVATIONS),
        )
    elif kind == "factored":
        module = draw.make(layers.Conv2Plus1d, ins, outs, draw.choice([1, 3]), stride)
    elif kind == "block":
        module = draw.make(layers.BasicBlock3d, ins, outs, stride, factored=draw.chance(0.5))
    elif kind == "separable":
        module = draw.make(
            layers.DepthwiseSeparable3d, ins, outs, draw.choice([1, 3, (1, 3, 3)]), stride
        )
    else:
        module = draw.make(
            layers.TransposedConvNorm3d,
            ins,
            outs,
            draw.integer(1, 3),
            stride,
            output_padding=draw.integer(0, stride - 1),
            activation=draw.choice(ACTIVATIONS),
        )
    size = draw.integers(3, 1, 7)
    return module, (draw.image(draw.integer(1, 2), ins, *size),)


def deformable(draw: Draw) -> Drawn:
    groups, offset_groups = draw.integer(1, 3), draw.integer(1, 3)
    ins = groups * offset_groups * draw.integer(1, 5)
    module = draw.make(
        layers.DeformConv2d,
        ins,
        groups * draw.integer(1, 9),
        draw.choice([1, 3, 3, 5]),
        draw.integer(1, 2),
        dilation=draw.integer(1, 2),
        groups=groups,
        offset_groups=offset_groups,
        modulated=draw.chance(0.5),
        bias=draw.chance(0.5),
    )
    return module, (_image(draw, ins, 14),)


def dcnv3(draw: Draw) -> Drawn:
    groups = draw.integer(1, 4)
    channels, kernel = groups * draw.integer(1, 6), draw.choice([1, 3, 3, 5])
    module = draw.make(
        layers.DCNv3,
        channels,
        kernel,
        dilation=draw.integer(1, 2),
        groups=groups,
        offset_scale=draw.choice([1.0, 0.5, 2.0]),
        center_feature_scale=draw.chance(0.5),
        remove_center=kernel > 1 and draw.chance(0.5),
    )
    return module, (draw.image(draw.integer(1, 2), *draw.integers(2, 1, 10), channels),)


def octave(draw: Draw) -> Drawn:
    ins, outs, stride = draw.integer(2, 24), draw.integer(2, 24), draw.integer(1, 2)
    alphas = [0.125, 0.25, 0.5, 0.75, draw.number(0.0, 0.8)]
    kernel, batch, height, width = draw.choice([1, 3, 5]), draw.integer(1, 3), *_sides(draw, 16)
    kind = draw.choice(["chain", "conv", "depthwise", "block"])
    alpha = draw.choice(alphas)
    if kind == "chain":
        middle, alpha_out = draw.integer(2, 24), draw.choice(alphas)
        activation = draw.choice(ACTIVATIONS)
        convs = (
            draw.make(
                layers.OctaveConvNorm,
                ins,
                outs,
                kernel,
                alpha_in=0,
                alpha_out=alpha,
                activation=activation,
            ),
            draw.make(
                layers.OctaveConvNorm,
                outs,
                middle,
                kernel,
                stride,
                alpha_in=alpha,
                alpha_out=alpha_out,
                activation=activation,
            ),
            draw.make(
                layers.OctaveConvNorm,
                middle,
                outs,
                kernel,
                alpha_in=alpha_out,
                alpha_out=0,
            ),
        )
        return OctaveChain(*convs), (draw.image(batch, ins, height, width),)
    if kind == "conv":
        module = draw.make(
            layers.OctaveConv2d,
            ins,
            outs,
            kernel,
            stride,
            alpha_in=alpha,
            alpha_out=draw.choice([0, *alphas]),
            bias=draw.chance(0.5),
        )
    elif kind == "depthwise":
        module = draw.make(
            layers.OctaveConvNorm,
            ins,
            ins,
            kernel,
            stride,
            alpha_in=alpha,
            alpha_out=alpha,
            groups=ins,
            activation=draw.choice(ACTIVATIONS),
        )
    else:
        module = draw.make(
            layers.OctaveBasicBlock,
            ins,
            outs,
            stride,
            alpha_in=alpha,
            alpha_out=draw.choice([alpha, *alphas]),
        )
    high, low = layers.split_channels(ins, alpha)
    x = draw.image(batch, high, height, width)
    if not low:
        return module, (x,)
    return OctavePairs(module), (x, draw.image(batch, low, -(-height // 2), -(-width // 2)))


def dynamic(draw: Draw) -> Drawn:
    return _experts(
        draw,
        layers.DynamicConv2d,
        reduction=draw.choice([0.25, 0.5, 1.0]),
        temperature=draw.choice([1.0, 4.0, 31.0, draw.number(0.3, 34)]),
    )


def conditional(draw: Draw) -> Drawn:
    if draw.chance(0.7):
        return _experts(draw, layers.CondConv2d)
    ins, outs = draw.channels(16), draw.channels(16)
    module = draw.make(
        layers.CondConvResidual,
        ins,
        draw.choice([ins, outs]),
        draw.choice([3, 5]),
        draw.integer(1, 2),
        draw.integer(1, 4),
        experts=draw.integer(1, 8),
    )
    return module, (_image(draw, ins, 12),)


def selective_kernel(draw: Draw) -> Drawn:
    stride, branches = draw.integer(1, 2), draw.choice([1, 2, 2, 3, 4])
    if draw.chance(0.4):
        ins = branches * draw.integer(1, 8)
        module = draw.make(
            layers.SelectiveKernel.timm, ins, draw.channels(), stride, branches=branches
        )
        return module, (_image(draw, ins, 16),)
    groups = draw.integer(1, 8)
    split = draw.chance(0.2)
    ins = groups * draw.integer(1, 4) * (branches if split else 1)
    module = draw.make(
        layers.SelectiveKernel,
        ins,
        groups * draw.integer(1, 5),
        stride,
        branches=branches,
        groups=groups,
        reduction=draw.choice([2, 4, 16]),
        least=draw.choice([1, 4, 32]),
        split_input=split,
    )
    return module, (_image(draw, ins, 16),)


def attention_augmented(draw: Draw) -> Drawn:
    heads, stride = draw.integer(1, 4), draw.integer(1, 2)
    dk, dv = heads * draw.integer(1, 8), heads * draw.integer(1, 5)
    ins, sides = draw.channels(16), draw.integers(2, 1, 10)
    module = draw.make(
        layers.AttentionAugmentedConv2d,
        ins,
        dv + draw.channels(16),
        draw.choice([1, 3, 5]),
        stride,
        size=draw.choice([None, tuple(-(-side // stride) for side in sides)]),
        dk=dk,
        dv=dv,
        heads=heads,
        bias=draw.chance(0.5),
    )
    return module, (draw.image(draw.integer(1, 3), ins, *sides),)


def _experts(draw: Draw, kind: type[nn.Module], **kwargs: float) -> Drawn:
    groups = draw.integer(1, 4)
    ins, outs = groups * draw.channels(8), groups * draw.channels(8)
    if draw.chance(0.2):
        groups, outs = ins, ins
    module = draw.make(
        kind,
        ins,
        outs,
        draw.choice([1, 3, 3, 5]),
        draw.integer(1, 3),
        dilation=draw.integer(1, 2),
        groups=groups,
        bias=draw.chance(0.5),
        experts=draw.integer(1, 8),
        **kwargs,
    )
    return module, (_image(draw, ins, 14),)


def _image(draw: Draw, channels: int, most: int = 24) -> Tensor:
    return draw.image(draw.integer(1, 3), channels, *_sides(draw, most))


def _sides(draw: Draw, most: int) -> tuple[int, int]:
    return min(most, draw.side()), min(most, draw.side())


LAYERS = {
    "conv, norm": conv_norm,
    "separable": separable,
    "residual": residual,
    "ASPP": aspp,
    "transposed layers": up,
    "3-D layers": volume,
    "deformable": deformable,
    "DCNv3": dcnv3,
    "octave": octave,
    "dynamic": dynamic,
    "conditional": conditional,
    "selective kernel": selective_kernel,
    "attention-augmented": attention_augmented,
}
