"""The layers against naive NumPy ones, which mix every sample's kernel by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import (
    array,
    assert_close,
    assert_exports,
    naive_conv,
    naive_norm,
    normal,
    run,
    sigmoid,
    softmax,
)

from edgeconv.errors import UsageError
from edgeconv.nn import CondConv2d, CondConvResidual, DynamicConv2d, ExpertConv2d, seed_weights


def naive_experts(x: np.ndarray, mixing: np.ndarray, layer: ExpertConv2d) -> np.ndarray:
    """Mix the outputs of the experts, where the layer mixes their kernels."""
    y = 0.0
    geometry = {
        "stride": (layer.stride,) * 2,
        "padding": (layer.padding,) * 2,
        "dilation": (layer.dilation,) * 2,
        "groups": layer.groups,
    }
    for index, weight in enumerate(array(layer.weight)):
        part = naive_conv(x, weight, **geometry)
        if layer.bias is not None:
            part = part + array(layer.bias)[index][:, None, None]
        y = y + mixing[:, index, None, None, None] * part
    return y


def naive_attention(x: np.ndarray, layer: DynamicConv2d) -> np.ndarray:
    hidden = np.maximum(x.mean((2, 3)) @ array(layer.squeeze.weight)[:, :, 0, 0].T, 0)
    logits = hidden @ array(layer.attend.weight)[:, :, 0, 0].T + array(layer.attend.bias)
    return softmax(logits / layer.temperature.item(), axis=1)


def naive_routing(x: np.ndarray, linear: torch.nn.Linear) -> np.ndarray:
    return sigmoid(x.mean((2, 3)) @ array(linear.weight).T + array(linear.bias))


GEOMETRY = {
    "batch": st.integers(1, 3),
    "kernel": st.sampled_from([1, 3]),
    "stride": st.integers(1, 2),
    "dilation": st.integers(1, 2),
    "groups": st.sampled_from([1, 2, 4]),
    "bias": st.booleans(),
    "experts": st.integers(1, 4),
}


@settings(max_examples=20, deadline=None)
@given(arguments=st.fixed_dictionaries(GEOMETRY), temperature=st.sampled_from([0.5, 1.0, 34.0]))
def test_dynamic_conv(arguments, temperature) -> None:
    batch = arguments.pop("batch")
    layer = seed_weights(DynamicConv2d(4, 8, **arguments, temperature=temperature), seed=0)
    x = normal(batch, 4, 6, 5)
    want = naive_experts(array(x), naive_attention(array(x), layer), layer.experts)
    assert_close(run(layer, x), want)


@settings(max_examples=20, deadline=None)
@given(arguments=st.fixed_dictionaries(GEOMETRY))
def test_cond_conv(arguments) -> None:
    batch = arguments.pop("batch")
    layer = seed_weights(CondConv2d(4, 8, **arguments), seed=0)
    x = normal(batch, 4, 6, 5)
    want = naive_experts(array(x), naive_routing(array(x), layer.routing.linear), layer.experts)
    assert_close(run(layer, x), want)


@pytest.mark.parametrize(("stride", "outs"), [(1, 4), (2, 4), (1, 6)])
def test_cond_conv_residual_routes_once(stride: int, outs: int) -> None:
    block = seed_weights(CondConvResidual(4, outs, 3, stride, expansion=2), seed=0)
    x = normal(3, 4, 5, 6)
    a = array(x)
    mixing = naive_routing(a, block.routing.linear)
    y = naive_norm(naive_experts(a, mixing, block.expand), block.expand_norm)
    y = y * sigmoid(y)
    y = naive_norm(naive_experts(y, mixing, block.depthwise), block.depthwise_norm)
    y = y * sigmoid(y)
    y = naive_norm(naive_experts(y, mixing, block.project), block.project_norm)
    assert_close(run(block, x), a + y if stride == 1 and outs == 4 else y)


def test_samples_of_a_batch_do_not_meet() -> None:
    layer = seed_weights(DynamicConv2d(4, 6, temperature=0.1), seed=0)
    x = normal(3, 4, 5, 5)
    alone = torch.cat([run(layer, one[None]) for one in x])
    assert_close(run(layer, x), alone)


@pytest.mark.parametrize(("channels", "hidden"), [(3, 4), (16, 5), (10, 3)])
def test_hidden_channels(channels: int, hidden: int) -> None:
    assert DynamicConv2d(channels, 8).squeeze.out_channels == hidden


def test_the_temperature_falls_to_one_and_stays_in_a_checkpoint() -> None:
    layer = DynamicConv2d(4, 4)
    seen = []
    for _ in range(13):
        seen.append(layer.temperature.item())
        layer.anneal()
    assert seen == [34, 31, 28, 25, 22, 19, 16, 13, 10, 7, 4, 1, 1]
    fresh = DynamicConv2d(4, 4)
    fresh.load_state_dict(layer.state_dict())
    assert fresh.temperature.item() == 1


def test_large_logits_do_not_overflow() -> None:
    layer = seed_weights(DynamicConv2d(4, 6, temperature=1.0), seed=0)
    with torch.no_grad():
        layer.attend.bias.copy_(torch.tensor([500.0, -500.0, 0.0, 200.0]))
    x = normal(2, 4, 5, 5)
    first = np.array([[1.0, 0, 0, 0]] * 2)
    assert_close(run(layer, x), naive_experts(array(x), first, layer.experts))


def test_seeding_keeps_the_scale() -> None:
    """Mixed kernels, not experts, have the fan-in scaling: depth does not fade the features."""
    x = normal(4, 64, 8, 8)
    for layer in (DynamicConv2d(64, 64, 1), CondConv2d(64, 64, 1)):
        assert 0.7 < run(seed_weights(layer, seed=0), x).std() < 1.4


def test_export_freezes_the_temperature_and_keeps_the_weights_dynamic() -> None:
    layer = seed_weights(DynamicConv2d(4, 6, stride=2, groups=2, temperature=7.0), seed=0)
    layer.anneal()
    operators = assert_exports(
        (layer, ((4, 6, 5),)),
        (seed_weights(CondConv2d(4, 6, 1), 0), ((4, 3, 5),)),
        (seed_weights(CondConvResidual(4, 4, expansion=2), 0), ((4, 4, 5),)),
    )
    assert operators.count("Softmax") == 2
    assert not {"Shape", "Range", "NonZero"} & set(operators)


def test_refuses_groups_that_do_not_divide() -> None:
    with pytest.raises(UsageError, match="groups"):
        CondConv2d(4, 6, groups=4)
