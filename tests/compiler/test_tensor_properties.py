"""Operators with many attributes, over random shapes and attributes, against ONNX Runtime.

Where ONNX Runtime departs from the standard, cases keep away from it, with a comment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import assert_close, exported, graph_model, run_model

FEW = settings(max_examples=5, deadline=None)
SIZE = st.integers(1, 7)
SEED = st.integers(0, 2**31)


def normal(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def check(
    op: str,
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    order: tuple[str, ...],
    length: int = 64,
    outputs: int = 1,
    **attributes: Any,
) -> None:
    """Compare one node with ONNX Runtime; `order` names its inputs, "" where one is left out."""
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, list(order), names, name="node", **attributes)
    model = graph_model([node], inputs, names, constants)
    got = run_model(model, dict(inputs))
    for name, want in exported(model, dict(inputs)).golden[0].outputs.items():
        assert_close(got[name], want, length, f"{op} {attributes} {name}")


@st.composite
def resizes(draw: Any) -> dict[str, Any]:
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    coordinates = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": draw(st.sampled_from(coordinates)),
    }
    if mode == "nearest":
        rounding = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = draw(st.sampled_from(rounding))
    elif draw(st.booleans()):
        attributes["antialias"] = 1
        # ONNX Runtime computes antialiased places by half_pixel whatever the mode says.
        attributes["coordinate_transformation_mode"] = "half_pixel"
    if mode == "cubic":
        attributes["exclude_outside"] = draw(st.integers(0, 1))
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
    return attributes


@FEW
@given(resizes(), st.tuples(SIZE, SIZE), st.tuples(SIZE, SIZE), SEED)
def test_resize(
    attributes: dict[str, Any], size: tuple[int, ...], wanted: tuple[int, ...], seed: int
) -> None:
    x = normal(seed, (1, 2, *size))
    sizes = np.array([1, 2, *wanted])
    check("Resize", {"x": x}, {"sizes": sizes}, order=("x", "", "", "sizes"), **attributes)


@FEW
@given(
    st.sampled_from(["constant", "edge", "reflect", "wrap"]),
    st.tuples(SIZE, SIZE),
    st.lists(st.integers(-2, 3), min_size=4, max_size=4),
    SEED,
)
def test_pad(mode: str, size: tuple[int, ...], pads: list[int], seed: int) -> None:
    # Something is left to repeat, and a reflection reaches no further than the other end.
    limits = [s - 1 for s in size] * 2
    pads = [max(-(limit // 2), min(pad, limit)) for pad, limit in zip(pads, limits, strict=True)]
    if mode in ("reflect", "wrap"):
        # ONNX Runtime cuts off and repeats in another order than NumPy.
        pads = [max(pad, 0) for pad in pads]
    constants = {"pads": np.array(pads), "value": np.float32(1.5)}
    x = normal(seed, (2, *size))
    order = ("x", "pads", "value", "axes")
    check("Pad", {"x": x}, {**constants, "axes": np.array([1, -1])}, order=order, mode=mode)


@FEW
@given(
    st.tuples(SIZE, SIZE, SIZE),
    st.lists(
        st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([-3, -2, -1, 1, 2, 3])),
        min_size=3,
        max_size=3,
    ),
    SEED,
)
def test_slice(size: tuple[int, ...], slices: list[tuple[int, int, int]], seed: int) -> None:
    kept = [
        (start, end, step) if len(range(extent)[start:end:step]) else (0, extent, 1)
        for extent, (start, end, step) in zip(size, slices, strict=True)
    ]
    names = ("starts", "ends", "axes", "steps")
    starts, ends, steps = (np.array(values) for values in zip(*kept, strict=True))
    constants = dict(zip(names, (starts, ends, np.arange(3), steps), strict=True))
    check("Slice", {"x": normal(seed, size)}, constants, order=("x", *names))


@FEW
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]),
        st.booleans(),
    ),
    SEED,
)
def test_transposed_convolution_to_a_shape(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    options: tuple[int, str, bool],
    seed: int,
) -> None:
    cut, auto_pad, computed = options
    whole = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel, strict=True)]
    # ONNX's shape inference stops at shapes smaller than the input.
    shape = [max(n, extent - cut) for n, extent in zip(size, whole, strict=True)]
    tensors = {"x": normal(seed, (1, 4, *size)), "w": normal(seed + 1, (4, 3, *kernel))}
    constants = {} if computed else {"w": tensors.pop("w")}
    attributes = {"strides": stride, "output_shape": shape, "auto_pad": auto_pad, "group": 2}
    check("ConvTranspose", tensors, constants, order=("x", "w"), **attributes)


@FEW
@given(
    st.sampled_from(["MaxPool", "AveragePool", "LpPool"]),
    st.tuples(st.integers(3, 8), st.integers(3, 8)),
    st.tuples(
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        st.lists(st.integers(0, 1), min_size=4, max_size=4),
    ),
    st.integers(0, 1),
    SEED,
)
def test_pooling(
    op: str,
    size: tuple[int, ...],
    window: tuple[tuple[int, ...], tuple[int, ...], list[int]],
    ceil_mode: int,
    seed: int,
) -> None:
    kernel, stride, pads = window
    pads = [min(pad, k - 1) for pad, k in zip(pads, kernel * 2, strict=True)]
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": pads, "ceil_mode": ceil_mode}
    if op == "AveragePool":
        attributes["count_include_pad"] = seed % 2
    outputs = 2 if op == "MaxPool" else 1
    check(op, {"x": normal(seed, (2, 3, *size))}, order=("x",), outputs=outputs, **attributes)


@FEW
@given(
    st.sampled_from(["linear", "nearest", "cubic"]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.integers(0, 1),
    st.tuples(SIZE, SIZE),
    SEED,
)
def test_grid_sample(
    mode: str, padding: str, align_corners: int, size: tuple[int, ...], seed: int
) -> None:
    # Some places are far outside, where reflections turn many times.
    x, grid = normal(seed, (2, 3, *size)), normal(seed + 1, (2, 3, 4, 2)) * (1 + seed % 10)
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    check("GridSample", {"x": x, "grid": grid}, order=("x", "grid"), **attributes)


@FEW
@given(st.tuples(SIZE, SIZE, SIZE), st.integers(-3, 2), st.integers(1, 5), SEED)
def test_gather_and_scatter(size: tuple[int, ...], axis: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    extent = size[axis]
    x = normal(seed, size)
    indices = random.integers(-extent, extent, (count, 2))
    check("Gather", {"x": x, "i": indices}, order=("x", "i"), axis=axis)
    shape = [random.integers(1, s + 1) for s in size]
    shape[axis] = count
    places = random.integers(-extent, extent, shape)
    check("GatherElements", {"x": x, "i": places}, order=("x", "i"), axis=axis)
    reduction = ["add", "mul", "max", "min"][seed % 4]
    updates = {"x": x, "i": places, "u": normal(seed + 1, tuple(shape))}
    check("ScatterElements", updates, order=("x", "i", "u"), axis=axis, reduction=reduction)


@FEW
@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(2, 6)),
    st.booleans(),
    SEED,
)
def test_quantised_convolution(
    groups: int, extents: tuple[int, ...], computed: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    batch, channels, outs, size = extents
    x = random.integers(0, 256, (batch, channels * groups, size, size)).astype(np.uint8)
    # ONNX Runtime adds pairs of products in 16 bits, with saturation, on processors without VNNI.
    w = random.integers(-64, 64, (outs * groups, channels, 2, 2)).astype(np.int8)
    constants = {
        "xs": np.float32(0.1),
        "xz": np.uint8(random.integers(256)),
        "ws": random.uniform(0.01, 0.1, outs * groups).astype(np.float32),
        "wz": np.zeros(outs * groups, np.int8),
        "ys": np.float32(0.7),
        "yz": np.uint8(128),
    }
    inputs = {"x": x}
    (inputs if computed else constants)["w"] = w
    order = ("x", "xs", "xz", "w", "ws", "wz", "ys", "yz")
    check("QLinearConv", inputs, constants, order=order, group=groups, pads=[1, 0, 1, 1])
