"""`draw_config`: one integer to one network of one layer, with inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.nn import seed_weights
from fuzz.draw import Draw
from fuzz.families import ACTIVATIONS, LAYERS
from fuzz.operators import CONVS, OPERATORS, Drawn

FAMILIES = OPERATORS | LAYERS
Result = Tensor | tuple[Tensor, ...]
_NORMS = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_POOLS = {
    3: (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d),
    4: (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    5: (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d),
}


class RefusedError(Exception):
    """PyTorch or the layer itself refuses the configuration, for the reason in the message."""

    def __init__(self, family: str, draw: Draw, error: Exception) -> None:
        super().__init__(str(error).splitlines()[0])
        self.family, self.text = family, "; ".join(draw.made)


@dataclass(frozen=True)
class Config:
    """A network of one drawn layer and what follows it.

    Attributes:
        seed: all the rest follows from it.
        family: key of FAMILIES.
        text: what was drawn.
        module: in evaluation mode, with seeded weights.
        inputs: its inputs.
        outputs: how many it has.
    """

    seed: int
    family: str
    text: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: int


class Followed(nn.Module):
    """A layer, then what networks put behind it; the last input is a residual where it adds."""

    def __init__(self, layer: nn.Module, tail: nn.Module, adds: bool, pool: nn.Module) -> None:
        super().__init__()
        self.layer, self.tail, self.adds, self.pool = layer, tail, adds, pool

    def forward(self, *inputs: Tensor) -> Tensor:
        if not self.adds:
            return self.pool(self.tail(self.layer(*inputs)))
        *given, residual = inputs
        return self.pool(self.tail(self.layer(*given)) + residual)


def draw_config(seed: int) -> Config:
    """Return the configuration of a seed; seeds in a row go through the families in turn.

    Raises:
        RefusedError: PyTorch cannot run it, such as a kernel larger than its padded input.
    """
    draw = Draw(seed)
    family = family_of(seed)
    try:
        module, inputs, y = _network(draw, family, seed)
    except (UsageError, RuntimeError) as error:
        raise RefusedError(family, draw, error) from error
    outputs = 1 if isinstance(y, Tensor) else len(y)
    return Config(seed, family, "; ".join(draw.made), module, inputs, outputs)


def family_of(seed: int) -> str:
    """Return the family that the seed draws from."""
    return list(FAMILIES)[seed % len(FAMILIES)]


def run(module: nn.Module, inputs: tuple[Tensor, ...]) -> Result:
    """Return what the module gives in evaluation mode."""
    with torch.no_grad():
        return module.eval()(*inputs)


def _network(draw: Draw, family: str, seed: int) -> tuple[nn.Module, tuple[Tensor, ...], Result]:
    """Return a layer, what may follow it, their inputs and what they give."""
    layer, inputs = FAMILIES[family](draw)
    seed_weights(layer, seed)
    y = run(layer, inputs)
    if isinstance(y, Tensor) and draw.chance(0.6):
        layer, inputs = _follow(draw, layer, inputs, y)
        y = run(layer, inputs)
    return layer, inputs, y


def _follow(draw: Draw, layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> Drawn:
    tail = nn.Sequential()
    # The channels of a channels-last layer are not where norms and pools look for them.
    if draw.chance(0.3):
        tail.append(draw.make(_NORMS[y.ndim], y.shape[1]))
    if activation := draw.choice(ACTIVATIONS):
        tail.append(draw.make(activation))
    if draw.chance(0.1) and min(y.shape[2:]) > 1:
        tail.append(draw.make(CONVS[y.ndim - 2], y.shape[1], draw.channels(16), 1))
    seed_weights(tail, draw.integer(0, 1 << 30))
    result = run(tail, (y,))
    adds = draw.chance(0.3)
    if adds:
        inputs = (*inputs, draw.image(*result.shape))
    return Followed(layer, tail, adds, _pool(draw, result)), inputs


def _pool(draw: Draw, y: Tensor) -> nn.Module:
    if draw.chance(0.7):
        return nn.Identity()
    largest, mean, whole = _POOLS[y.ndim]
    if draw.chance(0.3):
        return draw.make(whole, 1)
    window = min(draw.integer(2, 3), *y.shape[2:])
    kind = draw.choice([largest, mean])
    return draw.make(kind, window, draw.integer(1, 3), draw.integer(0, window // 2))
