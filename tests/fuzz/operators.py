"""Random configurations of PyTorch's own convolutions, and of deformable sampling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.ops.deform_conv import deform_conv2d
from fuzz.draw import Draw

Drawn = tuple[nn.Module, tuple[Tensor, ...]]

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Padded(nn.Module):
    """Pads with zeros (may be more on one side), then runs the layer."""

    def __init__(self, layer: nn.Module, pads: Sequence[int]) -> None:
        super().__init__()
        self.layer, self.pads = layer, list(pads)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.pad(x, self.pads))


class DeformableSampling(nn.Module):
    """The raw operator: offsets, and a mask where it is modulated, are inputs."""

    def __init__(
        self,
        channels: int,
        outs: int,
        kernel: tuple[int, int],
        groups: int,
        bias: bool,
        **geometry: tuple[int, int],
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outs, kernel, groups=groups, bias=bias)
        self.geometry = geometry

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        return deform_conv2d(
            x, offset, self.conv.weight, self.conv.bias, mask=mask, **self.geometry
        )


def dense(draw: Draw) -> Drawn:
    most = draw.choice([40, 40, 40, 130])
    return _conv(draw, 2, draw.channels(most), draw.channels(most), 1)


def pointwise(draw: Draw) -> Drawn:
    # Some whose weights or rows do not fit a first-level cache.
    most = draw.choice([64, 64, 64, 500])
    return _conv(draw, 2, draw.channels(most), draw.channels(most), 1, kernel=(1, 1))


def depthwise(draw: Draw) -> Drawn:
    channels = draw.channels(draw.choice([40, 40, 200]))
    return _conv(draw, 2, channels, channels * draw.choice([1, 1, 2, 3]), channels)


def grouped(draw: Draw) -> Drawn:
    groups = draw.integer(2, 9)
    return _conv(draw, 2, groups * draw.integer(1, 9), groups * draw.integer(1, 9), groups)


def dilated(draw: Draw) -> Drawn:
    return _conv(draw, 2, draw.channels(24), draw.channels(24), 1, dilation=draw.integers(2, 1, 5))


def conv_1d(draw: Draw) -> Drawn:
    groups = draw.choice([1, 1, draw.integer(2, 8)])
    return _conv(draw, 1, groups * draw.channels(12), groups * draw.channels(12), groups)


def conv_3d(draw: Draw) -> Drawn:
    groups = draw.choice([1, 1, draw.integer(2, 5)])
    return _conv(draw, 3, groups * draw.channels(8), groups * draw.channels(8), groups)


def depthwise_3d(draw: Draw) -> Drawn:
    channels = draw.channels(20)
    return _conv(draw, 3, channels, channels * draw.choice([1, 1, 2]), channels)


def transposed(draw: Draw) -> Drawn:
    return _transposed(draw, draw.choice([1, 2, 2, 2]))


def transposed_3d(draw: Draw) -> Drawn:
    return _transposed(draw, 3)


def deformable_sampling(draw: Draw) -> Drawn:
    offset_groups, groups = draw.integer(1, 3), draw.integer(1, 3)
    channels = offset_groups * groups * draw.integer(1, 6)
    outs = groups * draw.integer(1, 9)
    kernel = draw.choice([(1, 1), (3, 3), (3, 3), (2, 3), (1, 4)])
    geometry = {
        "stride": draw.integers(2, 1, 3),
        "padding": draw.integers(2, 0, 3),
        "dilation": draw.integers(2, 1, 2),
    }
    layer = draw.make(
        DeformableSampling, channels, outs, kernel, groups, draw.chance(0.5), **geometry
    )
    batch = draw.integer(1, 3)
    spans = [d * (k - 1) + 1 for d, k in zip(geometry["dilation"], kernel, strict=True)]
    size = [
        draw.side(max(1, span - 2 * p)) for span, p in zip(spans, geometry["padding"], strict=True)
    ]
    out = [
        (side + 2 * p - span) // s + 1
        for side, p, span, s in zip(
            size, geometry["padding"], spans, geometry["stride"], strict=True
        )
    ]
    taps = offset_groups * kernel[0] * kernel[1]
    x = draw.image(batch, channels, *size)
    # Most samples near their tap; sometimes over the whole image, or far outside of it.
    reach = draw.choice([1.0, 3.0, 3.0, 20.0, 1000.0])
    draw.made.append(f"offsets of {reach}")
    inputs = [x, draw.image(batch, 2 * taps, *out) * reach]
    if draw.chance(0.5):
        inputs.append(draw.image(batch, taps, *out))
    return layer, tuple(inputs)


def _conv(
    draw: Draw,
    rank: int,
    channels: int,
    outs: int,
    groups: int,
    *,
    kernel: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
) -> Drawn:
    if kernel is None:
        kernel = draw.integers(rank, 1, draw.choice([3, 3, 5, 7]) if rank < 3 else 3)
    if dilation is None:
        dilation = draw.integers(rank, 1, draw.choice([1, 1, 1, 2]))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    stride = draw.integers(rank, 1, draw.choice([1, 1, 2, 3, max(kernel) + 1]))
    asymmetric = draw.chance(0.3)
    padding = draw.integers(rank, 0, draw.choice([0, 1, 2, max(spans)]))
    # How PyTorch fills what it pads; the other modes are operators of their own in ONNX.
    mode = "zeros" if draw.chance(0.93) else draw.choice(["reflect", "replicate", "circular"])
    layer = draw.make(
        CONVS[rank],
        channels,
        outs,
        kernel,
        stride=stride,
        padding=0 if asymmetric else padding,
        dilation=dilation,
        groups=groups,
        bias=draw.chance(0.5),
        padding_mode=mode,
    )
    module: nn.Module = layer
    before, after = padding, padding
    if asymmetric:
        after = draw.integers(rank, 0, 3)
        # torch pads from the last axis to the first.
        pads = [p for pair in zip(before[::-1], after[::-1], strict=True) for p in pair]
        draw.made.append(f"padded by {pads}")
        module = Padded(layer, pads)
    # One in some tens is larger than its padded input, and has to be refused.
    smaller = draw.chance(0.03)
    size = []
    for span, first, last in zip(spans, before, after, strict=True):
        least = max(1, span - first - last)
        side = max(1, least - 1) if smaller else draw.side(least)
        size.append(min(side, least + 6) if rank == 3 else side)
    return module, (draw.image(draw.integer(1, 3 if rank < 3 else 2), channels, *size),)


def _transposed(draw: Draw, rank: int) -> Drawn:
    groups = draw.choice([1, 1, 2, draw.integer(3, 5)])
    kernel = draw.integers(rank, 1, draw.choice([2, 3, 4, 5]) if rank < 3 else 3)
    stride = draw.integers(rank, 1, 3 if rank < 3 else 2)
    dilation = draw.integers(rank, 1, draw.choice([1, 1, 2]))
    size = [draw.integer(1, 8 if rank < 3 else 4) for _ in range(rank)]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    extra = tuple(
        draw.integer(0, max(s, d) - 1) if draw.chance(0.5) else 0
        for s, d in zip(stride, dilation, strict=True)
    )
    padding = tuple(
        draw.integer(0, min(span, (s * (n - 1) + span - 1) // 2))
        for span, s, n in zip(spans, stride, size, strict=True)
    )
    most = 18 if rank < 3 else 8
    layer = draw.make(
        TRANSPOSED[rank],
        groups * draw.channels(most),
        groups * draw.channels(most),
        kernel,
        stride=stride,
        padding=padding,
        output_padding=extra,
        groups=groups,
        bias=draw.chance(0.5),
        dilation=dilation,
    )
    return layer, (draw.image(draw.integer(1, 2), layer.in_channels, *size),)


OPERATORS = {
    "dense": dense,
    "pointwise": pointwise,
    "depthwise": depthwise,
    "grouped": grouped,
    "dilated": dilated,
    "1-D": conv_1d,
    "3-D": conv_3d,
    "depthwise 3-D": depthwise_3d,
    "transposed": transposed,
    "transposed 3-D": transposed_3d,
    "deformable sampling": deformable_sampling,
}
