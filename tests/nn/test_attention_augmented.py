"""The layer against the paper's equations in NumPy, pixel by pixel and head by head."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import array, assert_close, assert_exports, naive_conv, normal, run, softmax

from edgeconv.errors import UsageError
from edgeconv.nn import AttentionAugmentedConv2d, seed_weights


def naive_augmented(x: np.ndarray, layer: AttentionAugmentedConv2d) -> np.ndarray:
    """Pixel by pixel and head by head, as equations 1 to 4 of the paper have it."""

    def conv(values: np.ndarray, module) -> np.ndarray:
        y = naive_conv(
            values,
            array(module.weight),
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
        )
        return y if module.bias is None else y + array(module.bias)[:, None, None]

    convolved, qkv = conv(x, layer.conv), conv(x, layer.qkv)
    batch, _, height, width = qkv.shape
    dk, _, dv = layer.split
    attended = np.zeros((batch, dv, height, width))
    pixels = list(np.ndindex(height, width))
    for n in range(batch):
        for head in range(layer.heads):
            at_k, at_v = dk // layer.heads * head, dv // layer.heads * head
            q = qkv[n, at_k : at_k + dk // layer.heads]
            k = qkv[n, dk + at_k : dk + at_k + dk // layer.heads]
            v = qkv[n, 2 * dk + at_v : 2 * dk + at_v + dv // layer.heads]
            for i, j in pixels:
                logits = []
                for a, b in pixels:
                    key = k[:, a, b]
                    if layer.relative is not None:
                        key = key + array(layer.relative.key_height)[a - i + height - 1]
                        key = key + array(layer.relative.key_width)[b - j + width - 1]
                    logits.append(q[:, i, j] @ key / np.sqrt(dk // layer.heads))
                weights = softmax(np.array(logits), axis=0)
                mean = sum(w * v[:, a, b] for w, (a, b) in zip(weights, pixels, strict=True))
                attended[n, at_v : at_v + dv // layer.heads, i, j] = mean
    return np.concatenate([convolved, conv(attended, layer.join)], axis=1)


@settings(max_examples=15, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 4]),
    per_head=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 2),
    relative=st.booleans(),
)
def test_attention_augmented(heads, per_head, size, stride, relative) -> None:
    layer = AttentionAugmentedConv2d(
        3,
        12,
        3,
        stride,
        size=size if relative else None,
        dk=heads * per_head[0],
        dv=heads * per_head[1],
        heads=heads,
    )
    seed_weights(layer, seed=0)
    x = normal(2, 3, *(stride * side for side in size))
    assert_close(run(layer, x), naive_augmented(array(x), layer))


def test_heads_are_joined_by_channel_and_not_by_pixel() -> None:
    """A head that sees only its own pixel returns its values in place."""
    layer = seed_weights(AttentionAugmentedConv2d(2, 6, size=(3, 4), dk=4, dv=4, heads=2), 0)
    relative = layer.relative
    for keys, side in ((relative.key_height, 3), (relative.key_width, 4)):
        keys.data.zero_()
        keys.data[side - 1] = 1e4  # distance 0
    layer.qkv.weight.data[:8] = 0
    layer.qkv.bias.data[:8] = 1  # every query the same, keys too
    x = normal(1, 2, 3, 4)
    values = run(layer.qkv, x)[:, 8:]
    assert_close(run(layer, x)[:, 2:], run(layer.join, values))


def test_export() -> None:
    operators = assert_exports(
        (seed_weights(AttentionAugmentedConv2d(3, 16, size=(4, 5)), 0), ((3, 4, 5),)),
        (
            seed_weights(AttentionAugmentedConv2d(3, 6, 1, 2, size=(3, 2), dk=6, dv=2, heads=2), 0),
            ((3, 5, 4),),
        ),
        (
            seed_weights(
                AttentionAugmentedConv2d(3, 6, size=None, dk=4, dv=2, heads=2, bias=False), 0
            ),
            ((3, 3, 4),),
        ),
    )
    assert operators.count("Softmax") == 6
    # The relative keys are gathered at compile time.
    assert not {"Gather", "GatherND", "GatherElements", "Shape"} & set(operators)


@pytest.mark.parametrize("arguments", [{"heads": 3}, {"dv": 16}])
def test_refuses_at_construction(arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="dv"):
        AttentionAugmentedConv2d(3, 16, size=(4, 4), **arguments)


def test_refuses_another_size() -> None:
    layer = AttentionAugmentedConv2d(3, 16, size=(4, 4))
    with pytest.raises(UsageError, match="relative keys"):
        layer(normal(1, 3, 4, 5))
