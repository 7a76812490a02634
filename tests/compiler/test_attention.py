"""Attention as one kernel: against double precision, where it is fused and where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, assert_close, compile_model, exported, graph_model

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.devices import open_session
from edgeconv.nn import AttentionAugmentedConv2d
from edgeconv.target import Target, load_target

# Batch; queries, channels, keys, values a head; rows and columns of the image, where keys are one.
Sizes = tuple[tuple[int, ...], int, int, int, int, tuple[int, int] | None]


def small_caches(name: str) -> Target:
    """A target whose second-level cache holds a few rows of logits, so that tasks are many."""
    target = load_target(name)
    return replace(target, cpu=replace(target.cpu, l2_kib=8))


def attention(
    sizes: Sizes, outputs: Sequence[str] = ("y",), axis: int = -1
) -> tuple[onnx.ModelProto, Arrays]:
    """Return attention in single operators, and its inputs."""
    batch, rows, depth, keys, columns, image = sizes
    draw = np.random.default_rng(prod(sizes[1:5]))
    shapes = {"q": (rows, depth), "k": (keys, depth), "v": (keys, columns)}
    if image is not None:
        shapes |= {"a": (rows, image[0], 1), "b": (rows, 1, image[1])}
    inputs = {
        name: draw.standard_normal((*batch, *shape), np.float32) for name, shape in shapes.items()
    }
    order = [*range(len(batch)), len(batch) + 1, len(batch)]
    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=order),
        helper.make_node("MatMul", ["q", "kt"], ["products"]),
    ]
    if image is not None:
        nodes += [
            helper.make_node("Add", ["a", "b"], ["pairs"]),
            helper.make_node("Reshape", ["pairs", "shape"], ["relative"]),
            helper.make_node("Add", ["products", "relative"], ["logits"]),
        ]
    logits = "logits" if image is not None else "products"
    nodes += [
        helper.make_node("Softmax", [logits], ["weights"], axis=axis),
        helper.make_node("MatMul", ["weights", "v"], ["y"]),
    ]
    shape = np.array([*batch, rows, keys])
    constants = {"shape": shape} if image is not None else {}
    return graph_model(nodes, inputs, outputs, constants), inputs


def expected(inputs: Arrays) -> np.ndarray:
    """Compute in double precision."""
    q, k, v, *relative = (array.astype(np.float64) for array in inputs.values())
    logits = q @ k.swapaxes(-1, -2)
    if relative:
        logits += (relative[0] + relative[1]).reshape(logits.shape)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True) @ v).astype(np.float32)


def bundle(model: onnx.ModelProto, inputs: Arrays, target: str) -> Artifact:
    """Compile for small caches, with a runner."""
    emit = Emit.BUNDLE if target == "host" else Emit.EXE
    return compile_exported(exported(model, inputs), small_caches(target), emit=emit)


def families(artifact: Artifact) -> list[str]:
    """Return the families of an artifact's steps, less those that pack and transpose."""
    moves = ("layout", "transpose")
    return [step.family for step in artifact.plan.steps if step.family not in moves]


def check(sizes: Sizes, target: str) -> None:
    """Compile for small caches, and run with one thread and two."""
    model, inputs = attention(sizes)
    artifact = bundle(model, inputs, target)
    assert families(artifact) == ["attention"]
    (step,) = (step for step in artifact.plan.steps if step.family == "attention")
    batch, rows, depth, keys, columns, _ = sizes
    assert step.macs == prod(batch) * rows * keys * (depth + columns)
    session = open_session(artifact)
    for threads in (1, 2):
        got = session.run(inputs, threads)["y"]
        assert_close(got, expected(inputs), depth * 16, f"{sizes} on {target}, {threads} threads")


@st.composite
def sizes(draw: st.DrawFn) -> Sizes:
    """Draw sizes that vectors divide and sizes that they do not."""
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    image = draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 21)))
    keys = draw(st.integers(1, 90)) if image is None else prod(image)
    columns = draw(st.sampled_from([1, 2, 3, 4, 15, 16, 17, 40]))
    return batch, draw(st.integers(4, 75)), draw(st.integers(1, 24)), keys, columns, image


@settings(max_examples=12, deadline=None)
@given(sizes=sizes())
def test_attention_on_this_machine(sizes: Sizes) -> None:
    check(sizes, "host")


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
@pytest.mark.parametrize(
    "sizes",
    [
        ((2, 3), 53, 20, 49, 1, (7, 7)),
        ((2,), 197, 16, 197, 3, None),
        ((1, 2), 64, 8, 63, 16, None),
        ((), 31, 5, 77, 40, (11, 7)),
    ],
)
def test_attention_on_targets(sizes: Sizes, target: str) -> None:
    check(sizes, target)


class Scaled(torch.nn.Module):
    """PyTorch's own attention."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Map (N, heads, queries, D), (N, heads, keys, D) and (N, heads, keys, E)."""
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("columns", [1, 3, 16, 40])
def test_scaled_dot_product_attention(columns: int, target: str) -> None:
    draw = torch.Generator().manual_seed(columns)
    shapes = [(2, 3, 29, 12), (2, 3, 45, 12), (2, 3, 45, columns)]
    inputs = [torch.randn(shape, generator=draw) for shape in shapes]
    artifact = edgeconv.compile(Scaled().eval(), inputs, target=target, threads=2)
    assert families(artifact).count("attention") == 1
    assert not {"matmul", "softmax"} & set(families(artifact))
    artifact.verify().raise_if_failed()


class Masked(torch.nn.Module):
    """The same for any rank: causal, or with a mask of what is added or of what is kept."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map (..., queries, D), (..., keys, D), (..., keys, E) and (..., queries, keys)."""
        if mask is not None and self.kind == "kept":
            # Of eleven keys, some are.
            mask = mask > -1
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=self.kind == "causal"
        )


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ([(9, 8), (11, 8), (11, 5)], ""),
        ([(3, 9, 8), (3, 11, 8), (3, 11, 5)], ""),
        ([(3, 9, 8), (3, 9, 8), (3, 9, 8)], "causal"),
        ([(3, 9, 8), (3, 11, 8), (3, 11, 5), (9, 11)], "added"),
        ([(3, 9, 8), (3, 11, 8), (3, 11, 5), (3, 9, 11)], "kept"),
        ([(2, 3, 4, 9, 8), (1, 1, 4, 11, 8), (2, 3, 4, 11, 5), (3, 1, 9, 11)], "added"),
        ([(2, 3, 9, 8), (2, 3, 11, 8), (2, 3, 11, 5), (2, 1, 9, 11)], "kept"),
    ],
)
def test_scaled_dot_product_attention_of_any_rank(shapes: list[tuple[int, ...]], kind: str) -> None:
    draw = torch.Generator().manual_seed(3)
    inputs = [torch.randn(shape, generator=draw) for shape in shapes]
    edgeconv.compile(Masked(kind).eval(), inputs).verify().raise_if_failed()


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("size", [(9, 7), None])
def test_attention_augmented_convolution(size: tuple[int, int] | None, target: str) -> None:
    layer = AttentionAugmentedConv2d(8, 16, size=size, dk=16, dv=4, heads=2).eval()
    artifact = edgeconv.compile(layer, [torch.randn(2, 8, 9, 7)], target=small_caches(target))
    assert families(artifact).count("attention") == 1
    assert "softmax" not in families(artifact)
    (step,) = (step for step in artifact.plan.steps if step.family == "attention")
    operators = [layer.rsplit(".", 1)[-1].rstrip("_2345") for layer in step.layers]
    relative = ["add", "reshape", "add"] if size else []
    assert operators == ["matmul", *relative, "softmax", "matmul"]
    artifact.verify().raise_if_failed()


@pytest.mark.parametrize(
    ("output", "image"),
    [("products", None), ("products", (5, 9)), ("logits", (5, 9)), ("weights", None)],
)
def test_what_others_read_is_made(output: str, image: tuple[int, int] | None) -> None:
    model, inputs = attention(((2,), 20, 8, 45, 3, image), [output, "y"])
    artifact = bundle(model, inputs, "host")
    assert "attention" not in families(artifact)
    got = open_session(artifact).run(inputs)
    assert got[output].shape == (2, 20, 45)
    assert_close(got["y"], expected(inputs), 128)


def test_a_softmax_over_queries_is_no_attention() -> None:
    model, inputs = attention(((2,), 20, 8, 45, 3, None), axis=1)
    assert families(compile_model(model, inputs)) == ["matmul", "softmax", "matmul"]


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("columns", [2, 16])
def test_special_values_spread_as_in_single_operators(columns: int, target: str) -> None:
    sizes = (2,), 24, 4, 45, columns, (5, 9)
    model, inputs = attention(sizes)
    artifact = bundle(model, inputs, target)
    nan, inf = np.nan, np.inf
    q, v, a, b = (inputs[name].copy() for name in "qvab")
    q[0, 2, 1], q[0, 3, 0] = nan, inf
    # Keys that are masked, in all but one row of an image, and everywhere.
    a[0, 5, 1:] = -inf
    a[0, 6] = -inf
    b[0, 7, 0, 4] = inf
    v[1, 11, 1], v[1, 12, 0] = nan, inf
    special = inputs | {"q": q, "v": v, "a": a, "b": b}
    with np.errstate(invalid="ignore"):
        want = expected(special)
    assert np.isnan(want[0, [2, 3, 6, 7]]).all()
    assert np.isfinite(want[0, 5]).all()
    got = open_session(artifact).run(special)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_masked_keys_have_no_weight() -> None:
    model, inputs = attention(((), 16, 4, 64, 1, (4, 16)))
    a = inputs["a"].copy()
    a[:, 2:] = -np.inf
    v = inputs["v"].copy()
    v[32:] = 1e38
    special = inputs | {"a": a, "v": v}
    got = open_session(bundle(model, inputs, "host")).run(special)["y"]
    np.testing.assert_allclose(got, expected(special), rtol=1e-5, atol=1e-6)
