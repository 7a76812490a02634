"""Attention-augmented convolution: a convolution beside self-attention over the whole image.

Some of the output channels come from a convolution, the others from multi-head self-attention
between all pixels, with logits for the relative position in height and in width:

    logits[i, j] = q_i . (k_j + key_width[x_j - x_i] + key_height[y_j - y_i]) / sqrt(dk / heads)

Bello et al., "Attention Augmented Convolutional Networks", arXiv:1904.09925; as in the code of the
paper's appendix. (A well-known port reshapes the heads' outputs without transposing them, which
mixes pixels with channels; this one does not.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError


class AttentionAugmentedConv2d(nn.Module):
    """Concatenates a convolution (out_channels - dv channels) and self-attention (dv channels).

    Queries, keys and values come from one 1x1 convolution (channels: q, k, v, each by head), and
    the heads' outputs pass another 1x1 convolution; both have a bias. The relative keys are
    shared by the heads. Input (N, in_channels, H, W), output (N, out_channels, H', W'), both
    floating point. The convolution pads kernel // 2 on every side; a stride is also that of the
    1x1 convolution before the attention.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, more than `dv`.
        kernel: side of the convolution's square kernel, odd.
        stride: step of the convolution and of the attention's input.
        size: (H', W') of the output, which the relative keys depend on; None leaves relative
            position out.
        dk: channels of the queries and keys, all heads together.
        dv: channels of the values, all heads together.
        heads: number of heads; divides `dk` and `dv`.
        bias: adds a bias to the convolution.

    Raises:
        UsageError: the heads do not divide `dk` and `dv`, or no channels are left for the
            convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        size: tuple[int, int] | None,
        dk: int = 40,
        dv: int = 8,
        heads: int = 4,
        bias: bool = True,
    ) -> None:
        """Make the layers; weights are PyTorch's defaults, relative keys normal."""
        super().__init__()
        if dk % heads or dv % heads:
            raise UsageError(
                f"AttentionAugmentedConv2d: {heads} heads do not divide dk {dk} and dv {dv}"
            )
        if dv >= out_channels:
            raise UsageError(
                f"AttentionAugmentedConv2d: dv {dv} leaves no channel of {out_channels} for the "
                "convolution"
            )
        self.split, self.heads, self.size = (dk, dk, dv), heads, size
        self.conv = nn.Conv2d(
            in_channels, out_channels - dv, kernel, stride, kernel // 2, bias=bias
        )
        self.qkv = nn.Conv2d(in_channels, 2 * dk + dv, 1, stride)
        self.join = nn.Conv2d(dv, dv, 1)
        self.relative = None if size is None else RelativeKeys(size, dk // heads)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W').

        Raises:
            UsageError: the output has another size than the relative keys were made for.
        """
        convolved = self.conv(x)
        if self.size is not None and tuple(convolved.shape[2:]) != self.size:
            raise UsageError(
                f"AttentionAugmentedConv2d: the output is {tuple(convolved.shape[2:])}, but the "
                f"relative keys were made for {self.size}"
            )
        return torch.cat([convolved, self._attend(x)], dim=1)

    def _attend(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        batch, _, height, width = qkv.shape
        # (N, heads, pixels, channels of one head)
        q, k, v = (
            part.reshape(batch, self.heads, -1, height * width).transpose(2, 3)
            for part in qkv.split(self.split, dim=1)
        )
        q = q * q.shape[3] ** -0.5
        logits = torch.matmul(q, k.transpose(2, 3))
        if self.relative is not None:
            logits = logits + self.relative(q)
        attended = torch.matmul(torch.softmax(logits, dim=3), v)
        y: Tensor = self.join(attended.transpose(2, 3).reshape(batch, -1, height, width))
        return y


class RelativeKeys(nn.Module):
    """Logits of relative position: learned keys for each distance in height and in width.

    Input: queries (N, heads, H * W, D), output: logits (N, heads, H * W, H * W), both floating
    point; entry [i, j] is of query pixel i and key pixel j, in row-major order.

    Args:
        size: (H, W).
        channels: channels of a query, D.
    """

    def __init__(self, size: tuple[int, int], channels: int) -> None:
        """Draw the keys, with the paper's standard deviation of 1 / sqrt(channels)."""
        super().__init__()
        height, width = size
        # Entry L - 1 + distance is the key of that distance.
        self.key_height = nn.Parameter(torch.randn(2 * height - 1, channels) * channels**-0.5)
        self.key_width = nn.Parameter(torch.randn(2 * width - 1, channels) * channels**-0.5)
        self.distance_height: Tensor
        self.distance_width: Tensor
        self.register_buffer("distance_height", _distances(height), persistent=False)
        self.register_buffer("distance_width", _distances(width), persistent=False)

    def forward(self, q: Tensor) -> Tensor:
        """Map (N, heads, H * W, D) to (N, heads, H * W, H * W)."""
        height, width = len(self.distance_height), len(self.distance_width)
        q = torch.unflatten(q, 2, (height, width))
        # Keys by pair of rows (or columns): gathered from constants, so nothing is left to do at
        # run time but the two products.
        rows = self.key_height[self.distance_height]
        columns = self.key_width[self.distance_width]
        # (N, heads, query row, query column, key row or key column)
        by_row = torch.matmul(q, rows.transpose(1, 2))
        by_column = torch.matmul(q.transpose(2, 3), columns.transpose(1, 2)).transpose(2, 3)
        return (by_row.unsqueeze(5) + by_column.unsqueeze(4)).flatten(4).flatten(2, 3)

    def draw(self, rng: np.random.Generator, gain: float) -> dict[str, np.ndarray]:
        """Return seeded keys, distributed as new ones are; `gain` does not apply."""
        scale = self.key_height.shape[1] ** -0.5
        return {
            name: rng.standard_normal(key.shape) * scale for name, key in self.named_parameters()
        }


def _distances(size: int) -> Tensor:
    """Return (size, size) indices: entry [i, j] is size - 1 + j - i."""
    places = torch.arange(size)
    return places - places[:, None] + size - 1
