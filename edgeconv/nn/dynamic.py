"""Dynamic convolution: every sample mixes a kernel of its own out of K learned ones.

`DynamicConv2d` mixes by a softmax with temperature (Chen et al., "Dynamic Convolution: Attention
over Convolution Kernels", arXiv:1912.03458), `CondConv2d` by independent sigmoids (Yang et al.,
"CondConv", arXiv:1904.04971). Convolution is linear, so mixing kernels costs less than mixing the
outputs of K convolutions:

    y = conv(x, sum over k: a_k(x) W_k) + sum over k: a_k(x) b_k

The kernel depends on the sample, so a batch is one grouped convolution with as many groups as
samples. A converter that takes the kernel of its example input for a constant makes a file that is
right for that input only; here it stays computed.

"Dynamic convolution" also names something else: sequence models whose kernel, shared by the
channels of a head, is predicted at every time step (Wu et al., "Pay Less Attention with Lightweight
and Dynamic Convolutions", arXiv:1901.10430). That is not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.errors import UsageError


class ExpertConv2d(nn.Module):
    """A 2-D convolution whose kernel and bias are mixed, sample by sample, out of K experts.

    Inputs (N, in_channels, H, W) and the mixing factors (N, experts), output
    (N, out_channels, H', W'), all floating point. It pads dilation * (kernel // 2) on every side.
    The samples become groups of one convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel, odd.
        stride: step of the kernel, both ways.
        dilation: distance between neighbouring taps.
        groups: groups that the channels are split in.
        bias: adds a mixed bias.
        experts: number of kernels, K.
        mixing_power: sum of the squared mixing factors to expect; only seeding uses it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        experts: int = 4,
        mixing_power: float = 1.0,
    ) -> None:
        """Make the experts, as PyTorch's default convolution is made."""
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise UsageError(
                f"{type(self).__name__}: {groups} groups do not divide {in_channels} and "
                f"{out_channels} channels"
            )
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.padding = dilation * (kernel // 2)
        self.mixing_power = mixing_power
        shape = (experts, out_channels, in_channels // groups, kernel, kernel)
        bound = 1 / math.sqrt(math.prod(shape[2:]))
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(experts, out_channels).uniform_(-bound, bound))
            if bias
            else None
        )

    def forward(self, x: Tensor, mixing: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) and (N, experts) to (N, out_channels, H', W')."""
        batch, channels, height, width = x.shape
        outs = self.weight.shape[1]
        weight = torch.matmul(mixing, self.weight.flatten(1))
        bias = None if self.bias is None else torch.matmul(mixing, self.bias).reshape(-1)
        y = F.conv2d(
            x.reshape(1, batch * channels, height, width),
            weight.reshape(batch * outs, *self.weight.shape[2:]),
            bias,
            self.stride,
            self.padding,
            self.dilation,
            batch * self.groups,
        )
        return y.reshape(batch, outs, *y.shape[2:])

    def draw(self, rng: np.random.Generator, gain: float) -> dict[str, np.ndarray]:
        """Return seeded parameters that keep the input's second moment times `gain`."""
        fan_in = math.prod(self.weight.shape[2:])
        scale = math.sqrt(gain / (fan_in * self.mixing_power))
        drawn = {"weight": rng.standard_normal(self.weight.shape) * scale}
        if self.bias is not None:
            drawn["bias"] = rng.standard_normal(self.bias.shape) * 0.1
        return drawn


class DynamicConv2d(nn.Module):
    """A 2-D convolution that mixes K kernels and biases by attention over the pooled input.

    The attention is global average pooling, a 1x1 convolution without bias, ReLU, a 1x1
    convolution, and softmax(logits / temperature). Input (N, in_channels, H, W), output
    (N, out_channels, H', W'), both floating point.

    Training starts at a high temperature, where all kernels learn, and lowers it by `anneal`. The
    temperature is part of the state: an exported network has the trained one as a constant.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel, odd.
        stride: step of the kernel, both ways.
        dilation: distance between neighbouring taps.
        groups: groups that the channels are split in.
        bias: mixes a bias too.
        experts: number of kernels, K.
        reduction: the attention has int(reduction * in_channels) + 1 hidden channels, or `experts`
            where the input is an image (3 channels).
        temperature: at the start of training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        experts: int = 4,
        reduction: float = 0.25,
        temperature: float = 34.0,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        hidden = experts if in_channels == 3 else int(reduction * in_channels) + 1
        self.squeeze = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.attend = nn.Conv2d(hidden, experts, 1)
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor(temperature))
        self.experts = ExpertConv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            experts=experts,
            mixing_power=1 / experts,  # an even softmax
        )

    def anneal(self, step: float = 3.0) -> None:
        """Lower the temperature by `step`, to 1 at the least: once per epoch of training."""
        self.temperature.sub_(step).clamp_(min=1.0)

    def attention(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to mixing factors (N, experts); each row adds up to 1."""
        hidden = F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        return torch.softmax(self.attend(hidden).flatten(1) / self.temperature, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        y: Tensor = self.experts(x, self.attention(x))
        return y


class Routing(nn.Module):
    """CondConv's mixing factors: sigmoid of a linear layer on the globally pooled input.

    Input (N, channels, H, W), output (N, experts), both floating point.

    Args:
        channels: channels of the input.
        experts: number of factors.
    """

    def __init__(self, channels: int, experts: int = 4) -> None:
        """Make the linear layer; its weights are PyTorch's defaults."""
        super().__init__()
        self.linear = nn.Linear(channels, experts)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, experts)."""
        return torch.sigmoid(self.linear(x.mean((2, 3))))


class CondConv2d(nn.Module):
    """A 2-D convolution that mixes K kernels by sigmoids of its pooled input.

    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel, odd.
        stride: step of the kernel, both ways.
        dilation: distance between neighbouring taps.
        groups: groups that the channels are split in.
        bias: mixes a bias too.
        experts: number of kernels, K.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        experts: int = 4,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.routing = Routing(in_channels, experts)
        self.experts = ExpertConv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            experts=experts,
            mixing_power=experts / 4,  # sigmoids of 0
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        y: Tensor = self.experts(x, self.routing(x))
        return y


class CondConvResidual(nn.Module):
    """The inverted residual of CondConv networks: one routing for its three convolutions.

    Expand 1x1, filter depthwise, project 1x1, each mixed out of K kernels and batch-normalised,
    the first two activated; the input is added where it has the output's shape. Input
    (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel, odd.
        stride: step of the depthwise kernel.
        expansion: depthwise channels per input channel.
        experts: number of kernels, K.
        activation: makes the activation after expanding and after filtering.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        expansion: int = 6,
        *,
        experts: int = 4,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        hidden = in_channels * expansion
        self.adds_input = stride == 1 and in_channels == out_channels
        self.routing = Routing(in_channels, experts)
        power = experts / 4
        self.expand = ExpertConv2d(in_channels, hidden, 1, experts=experts, mixing_power=power)
        self.expand_norm = nn.BatchNorm2d(hidden)
        self.depthwise = ExpertConv2d(
            hidden, hidden, kernel, stride, groups=hidden, experts=experts, mixing_power=power
        )
        self.depthwise_norm = nn.BatchNorm2d(hidden)
        self.project = ExpertConv2d(hidden, out_channels, 1, experts=experts, mixing_power=power)
        self.project_norm = nn.BatchNorm2d(out_channels)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        mixing = self.routing(x)
        hidden = self.activation(self.expand_norm(self.expand(x, mixing)))
        hidden = self.activation(self.depthwise_norm(self.depthwise(hidden, mixing)))
        y: Tensor = self.project_norm(self.project(hidden, mixing))
        return x + y if self.adds_input else y
