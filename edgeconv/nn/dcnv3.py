"""Deformable convolution v3, the operator of InternImage.

Version 3 shares one weight per channel and tap (the 1x1 projections around it mix the channels),
has several groups with offsets of their own, and normalises the mask over the taps by softmax.

Version 4, which leaves out the softmax, is not here.

Wang et al., "InternImage", arXiv:2211.05778; layout and order as in OpenGVLab's code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.ops.deform_conv import deform_conv2d


class DCNv3(nn.Module):
    """Project, sample `kernel`^2 places per pixel and group, weigh them, and project.

    Offsets and mask come from a depthwise convolution, layer norm, GELU and one linear layer
    each. Their channels are per group, per tap with x as the *outer* axis; an offset is x, then
    y. A tap at (i, j) from the centre is read at offset_scale * ((i, j) + offset). Input and
    output (N, H, W, channels), floating point: channels last, as InternImage has it.

    Args:
        channels: channels of the input and output.
        kernel: side of the square kernel, odd.
        dilation: distance between neighbouring taps.
        groups: groups of channels with offsets and mask of their own.
        offset_scale: factor of the taps' places and of the offsets.
        depthwise_kernel: side of the depthwise kernel; None for `kernel`.
        center_feature_scale: mixes the projected input into the output, by a learned sigmoid per
            group.
        remove_center: leaves the tap in the middle out.

    Raises:
        UsageError: `groups` does not divide `channels`, or the kernel is even.
    """

    def __init__(
        self,
        channels: int = 64,
        kernel: int = 3,
        *,
        dilation: int = 1,
        groups: int = 4,
        offset_scale: float = 1.0,
        depthwise_kernel: int | None = None,
        center_feature_scale: bool = False,
        remove_center: bool = False,
    ) -> None:
        """Make the layers; the weights are PyTorch's defaults, the offsets' and mask's zero."""
        super().__init__()
        if channels % groups:
            raise UsageError(f"DCNv3: {groups} groups do not divide {channels} channels")
        if kernel % 2 == 0:
            raise UsageError(f"DCNv3: the kernel must be odd, not {kernel}")
        self.kernel, self.dilation, self.groups = kernel, dilation, groups
        self.padding = dilation * (kernel // 2)
        self.center = kernel**2 // 2 if remove_center else None
        self.taps = kernel**2 - remove_center
        wide = kernel if depthwise_kernel is None else depthwise_kernel
        self.depthwise = nn.Conv2d(channels, channels, wide, padding=wide // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.offset = nn.Linear(channels, groups * self.taps * 2)
        self.mask = nn.Linear(channels, groups * self.taps)
        for linear in (self.offset, self.mask):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.input_projection = nn.Linear(channels, channels)
        self.output_projection = nn.Linear(channels, channels)
        self.center_scale = nn.Linear(channels, groups) if center_feature_scale else None
        self.offset_scale = offset_scale
        # Not part of a checkpoint: they follow from the arguments.
        self.ones: Tensor
        self.spread: Tensor
        self.register_buffer("ones", torch.ones(channels, 1, kernel, kernel), persistent=False)
        self.register_buffer("spread", self._spread(), persistent=False)

    def _spread(self) -> Tensor:
        """Return how far `offset_scale` moves each tap: (K, K, 2, 1, 1), y before x."""
        place = torch.arange(self.kernel, dtype=torch.float32) * self.dilation - self.padding
        down, right = torch.meshgrid(place, place, indexing="ij")
        moved = (self.offset_scale - 1) * torch.stack([down, right], dim=2)
        return moved[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, channels) to the same shape."""
        projected: Tensor = self.input_projection(x)
        context = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        context = nn.functional.gelu(self.norm(context))
        y = self._sample(projected, self.offset(context), self.mask(context))
        if self.center_scale is not None:
            scale = torch.sigmoid(self.center_scale(context)).unsqueeze(4)
            sampled, kept = (torch.unflatten(t, 3, (self.groups, -1)) for t in (y, projected))
            y = (sampled * (1 - scale) + kept * scale).flatten(3)
        z: Tensor = self.output_projection(y)
        return z

    def _sample(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Sample and weigh: a depthwise deformable convolution whose weights are ones."""
        batch, height, width, _ = x.shape
        pixels = (batch, height, width, self.groups, self.taps)
        right, down = torch.split(self._all_taps(offset.reshape(*pixels, 2)), 1, dim=4)
        offset = torch.cat([down, right], dim=4) * self.offset_scale + self.spread
        mask = self._all_taps(torch.softmax(mask.reshape(*pixels), dim=4).unsqueeze(5))
        y = deform_conv2d(
            x.permute(0, 3, 1, 2),
            offset.reshape(batch, -1, height, width),
            self.ones,
            padding=(self.padding, self.padding),
            dilation=(self.dilation, self.dilation),
            mask=mask.reshape(batch, -1, height, width),
        )
        return y.permute(0, 2, 3, 1)

    def _all_taps(self, values: Tensor) -> Tensor:
        """Map (N, H, W, G, taps, V), x outer, to (N, G, K, K, V, H, W), y outer.

        A removed centre becomes zero.
        """
        if self.center is not None:
            before, after = torch.split(values, [self.center, self.taps - self.center], dim=4)
            values = torch.cat([before, torch.zeros_like(values[..., :1, :]), after], dim=4)
        square: Tensor = torch.unflatten(values, 4, (self.kernel, self.kernel))
        return square.permute(0, 3, 5, 4, 6, 1, 2)
