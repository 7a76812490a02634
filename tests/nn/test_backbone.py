import pytest
import torch
from layers import normal, run
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.nn import (
    ConvNorm,
    InvertedResidual,
    OctaveBasicBlock,
    Place,
    UNet,
    exchange_convs,
    seed_weights,
    stack,
)


def test_stack_strides_the_first_block_of_a_stage_only() -> None:
    places: list[Place] = []

    def block(at: Place) -> nn.Module:
        places.append(at)
        return nn.Identity()

    assert len(stack(3, [(5, 2, 1), (7, 2, 2)], block)) == 4
    assert places == [
        Place(0, 0, 3, 5, 1),
        Place(0, 1, 5, 5, 1),
        Place(1, 0, 5, 7, 2),
        Place(1, 1, 7, 7, 1),
    ]


def test_exchange_convs_reaches_every_conv_norm() -> None:
    block = InvertedResidual(4, 6, expansion=2)
    seen: list[nn.Conv2d] = []

    def wider(conv: nn.Conv2d) -> nn.Module:
        seen.append(conv)
        return conv if conv.groups > 1 else nn.Identity()

    assert exchange_convs(block, wider) is block
    assert [conv.groups for conv in seen] == [1, 8, 1]
    kept = [unit.conv for unit in block.modules() if isinstance(unit, ConvNorm)]
    assert [type(conv) for conv in kept] == [nn.Identity, nn.Conv2d, nn.Identity]


def test_dilated_inverted_residual_keeps_the_size_and_spreads_its_taps() -> None:
    block = seed_weights(InvertedResidual(2, 2, expansion=1, dilation=2), seed=0)
    x = normal(1, 2, 9, 9)
    moved = x.clone()
    moved[0, :, 4, 4] += 1
    changed = (run(block, moved) - run(block, x)).abs().amax((0, 1)) > 1e-6
    reached = {(int(row), int(column)) for row, column in changed.nonzero()}
    assert reached <= {(row, column) for row in (2, 4, 6) for column in (2, 4, 6)}
    assert max(reached) > (4, 4)


@pytest.mark.parametrize(("alpha_in", "alpha_out"), [(0, 0.5), (0.5, 0.5), (0.5, 0), (0, 0)])
@pytest.mark.parametrize("stride", [1, 2])
def test_octave_block_is_its_layers(alpha_in: float, alpha_out: float, stride: int) -> None:
    block = OctaveBasicBlock(8, 8, stride, alpha_in=alpha_in, alpha_out=alpha_out)
    seed_weights(block, seed=0).eval()
    assert (block.shortcut is None) == (stride == 1 and alpha_in == alpha_out)
    x = (normal(2, 4, 8, 8), normal(2, 4, 4, 4)) if alpha_in else normal(2, 8, 8, 8)
    with torch.no_grad():
        got = block(x)
        main = block.conv2(block.conv1(x))
        aside = block.shortcut(x) if block.shortcut else x
    if alpha_out == 0:
        got, main, aside = (got,), (main,), (aside,)
    sizes = [8 // stride, 4 // stride]
    for octave, size, y, z in zip(got, sizes, main, aside, strict=False):
        assert octave.shape == (2, 4 if alpha_out else 8, size, size)
        torch.testing.assert_close(octave, torch.clamp(y + z, min=0))


def test_unet_joins_each_level_with_its_own_skip() -> None:
    network = seed_weights(UNet(2, 3, (4, 5, 7)), seed=0)
    x = normal(2, 2, 12, 8)
    assert run(network, x).shape == (2, 3, 12, 8)
    assert [block.conv1.conv.in_channels for block in network.up] == [5 + 5, 4 + 4]


def test_unet_refuses_sides_that_do_not_halve() -> None:
    with pytest.raises(UsageError, match="skip connection"):
        UNet(1, 2, (4, 5, 7))(normal(1, 1, 10, 12))
