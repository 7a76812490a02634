import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch.nn import functional as F

from edgeconv.errors import UsageError
from edgeconv.ops.deform_conv import deform_conv2d

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def cases(draw):
    """Arguments of any geometry that leaves a pixel of output."""
    kernel, stride, dilation = draw(PAIR), draw(PAIR), draw(PAIR)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    size = [draw(st.integers(low, low + 4)) for low in least]
    groups, offset_groups = draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2), (4, 2), (2, 4)]))
    batch = draw(st.integers(1, 2))
    windows = [
        (s + 2 * p - d * (k - 1) - 1) // step + 1
        for s, p, d, k, step in zip(size, padding, dilation, kernel, stride, strict=True)
    ]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    taps = kernel[0] * kernel[1] * offset_groups
    spread = draw(st.sampled_from([0.0, 0.5, 2.0, 50.0]))
    offset = rng.standard_normal((batch, 2 * taps, *windows)) * spread
    if draw(st.booleans()):
        offset = offset.round()  # places on pixels, and just at the border
    arrays = {
        "x": rng.standard_normal((batch, 4, *size)),
        "offset": offset,
        "weight": rng.standard_normal((4, 4 // groups, *kernel)),
        "bias": rng.standard_normal(4) if draw(st.booleans()) else None,
        "mask": rng.random((batch, taps, *windows)) if draw(st.booleans()) else None,
    }
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return {k: None if a is None else a.astype(np.float32) for k, a in arrays.items()}, geometry


def ours(arrays: dict[str, np.ndarray | None], geometry: dict[str, tuple[int, int]]) -> np.ndarray:
    tensors = {k: None if a is None else torch.from_numpy(a) for k, a in arrays.items()}
    return deform_conv2d(**tensors, **geometry).numpy()


def onnx_model(arrays, geometry):
    """DeformConv written by hand, with its feeds."""
    order = {"X": "x", "W": "weight", "offset": "offset", "B": "bias", "mask": "mask"}
    feeds = {name: arrays[key] for name, key in order.items() if arrays[key] is not None}
    weight, x = arrays["weight"], arrays["x"]
    taps = weight.shape[2] * weight.shape[3]
    node = helper.make_node(
        "DeformConv",
        [name if name in feeds else "" for name in order],
        ["Y"],
        strides=geometry["stride"],
        pads=geometry["padding"] * 2,
        dilations=geometry["dilation"],
        kernel_shape=weight.shape[2:],
        group=x.shape[1] // weight.shape[1],
        offset_group=arrays["offset"].shape[1] // (2 * taps),
    )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in feeds.items()
    ]
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph([node], "deform_conv", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return model, feeds


@settings(max_examples=60, deadline=None)
@given(cases())
def test_agrees_with_onnx_runtime(case) -> None:
    model, feeds = onnx_model(*case)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(ours(*case), session.run(None, feeds)[0], atol=2e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(cases().filter(lambda case: min(case[0]["x"].shape[2:]) > 1))
def test_agrees_with_the_onnx_reference(case) -> None:
    """Not for images one pixel wide, where the reference divides by zero."""
    arrays, geometry = case
    model, feeds = onnx_model(arrays, geometry)
    want = ReferenceEvaluator(model).run(None, feeds)[0]
    np.testing.assert_allclose(ours(*case), want, atol=2e-4, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(cases())
def test_without_offsets_it_is_a_convolution(case) -> None:
    arrays, geometry = case
    arrays = {**arrays, "offset": np.zeros_like(arrays["offset"]), "mask": None}
    x, weight = (torch.from_numpy(arrays[name]) for name in ("x", "weight"))
    bias = None if arrays["bias"] is None else torch.from_numpy(arrays["bias"])
    want = F.conv2d(x, weight, bias, groups=x.shape[1] // weight.shape[1], **geometry)
    np.testing.assert_allclose(ours(arrays, geometry), want.numpy(), atol=1e-5, rtol=1e-5)


def one_tap(down: float, right: float) -> float:
    """Sample one place of a 2 x 3 image of 1 to 6."""
    x = torch.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    offset = torch.zeros(1, 2, 2, 3)
    offset[0, :, 0, 0] = torch.tensor([down, right])
    return deform_conv2d(x, offset, torch.ones(1, 1, 1, 1))[0, 0, 0, 0].item()


@pytest.mark.parametrize(
    ("down", "right", "value"),
    [
        (0, 0, 1),
        (1, 0, 4),  # y comes first
        (0, 1, 2),
        (0.5, 0.25, 1 + 0.5 * 3 + 0.25),
        (-0.5, 0, 0.5),  # a corner outside counts as zero
        (-1, 0, 0),
        (1.75, 2, 0.25 * 6),
        (2, 0, 0),
        (0, 3, 0),
        (1e30, -1e30, 0),
        (float("inf"), 0, 0),
        (0, float("-inf"), 0),
        (float("nan"), 0, 0),
    ],
)
def test_places(down: float, right: float, value: float) -> None:
    assert one_tap(down, right) == value


def test_infinity_and_nan_in_the_image_do_not_spread() -> None:
    """They reach the places that read them, also with a factor of zero, and no others."""
    x = torch.tensor([float("nan"), 1, 2, float("inf")]).reshape(1, 1, 1, 4)
    y = deform_conv2d(x, torch.zeros(1, 2, 1, 4), torch.ones(1, 1, 1, 1))
    np.testing.assert_array_equal(y.reshape(-1), [np.nan, 1, np.nan, np.inf])


def test_the_operator_is_registered_soundly() -> None:
    """Schema, fake kernel and gradient, as `torch.library` checks them."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    geometry = {"stride": [1, 2], "padding": [1, 0], "dilation": [1, 1]}
    tensors = (draw(2, 4, 5, 6), draw(2, 24, 5, 3), draw(6, 2, 3, 2), draw(6), draw(2, 12, 5, 3))
    for bias_and_mask in (tensors[3:], (None, None)):
        torch.library.opcheck(
            torch.ops.edgeconv.deform_conv2d.default,
            (*tensors[:3], *bias_and_mask),
            {**geometry, "groups": 2, "offset_groups": 2},
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
        )


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    def call(x, offset, weight, bias, mask):
        return deform_conv2d(x, offset, weight, bias, mask=mask)

    inputs = (draw(1, 2, 3, 3), draw(1, 8, 2, 2), draw(2, 2, 2, 2), draw(2), draw(1, 4, 2, 2))
    assert torch.autograd.gradcheck(call, inputs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": (1, 18, 3, 3)},  # not the output's size
        {"offset": (1, 17, 5, 5)},
        {"offset": (1, 54, 5, 5)},  # three offset groups of four channels
        {"weight": (4, 3, 3, 3)},
        {"mask": (1, 18, 5, 5)},
        {"bias": (3,)},
    ],
)
def test_refuses_shapes_that_do_not_fit(wrong: dict[str, tuple[int, ...]]) -> None:
    shapes = {
        "x": (1, 4, 5, 5),
        "offset": (1, 18, 5, 5),
        "weight": (4, 4, 3, 3),
        "mask": (1, 9, 5, 5),
        "bias": (4,),
    }
    tensors = {name: torch.zeros(shape) for name, shape in {**shapes, **wrong}.items()}
    with pytest.raises(UsageError):
        deform_conv2d(**tensors, padding=(1, 1))
