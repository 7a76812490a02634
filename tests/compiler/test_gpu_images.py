"""What kernels of GPUs with a texture path read through images, and what they do not."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from gpu_checks import check_cases, find_no_fault
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import Arrays, compile_for_gpu, exported, graph_model
from test_convolution import AWKWARD, Case, build
from test_gpu import EXAMPLES, has_joined_tensors, layer
from test_gpu_convolution import SMALL, cases

import edgeconv
from edgeconv import nn
from edgeconv.artifact import OPENCL_SOURCES, Artifact
from edgeconv.cli.backends import place_text
from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.devices import open_session
from edgeconv.plan import Step
from edgeconv.target import Target, list_targets, load_target

WITH_IMAGES = [t.name for t in list_targets() if t.gpu and t.gpu.image_texels]
WITHOUT = [t.name for t in list_targets() if t.gpu and not t.gpu.image_texels]
LAYERS = ("separable", "grouped", "transposed", "selective kernel")


def adreno(texels: int) -> Target:
    """An Adreno whose images have at most so many texels."""
    target = load_target("adreno-660")
    assert target.gpu is not None
    return replace(target, gpu=replace(target.gpu, image_texels=texels))


def sources(artifact: Artifact) -> str:
    return artifact.entries[OPENCL_SOURCES].decode()


def signatures(artifact: Artifact) -> dict[str, str]:
    """The parameters of every kernel, as text."""
    return dict(re.findall(r"__kernel void (\w+)\(([^)]*)\)", sources(artifact)))


def image_inputs(step: Step, artifact: Artifact) -> tuple[int, ...]:
    """The operands that are images by the kernel's source."""
    images = re.findall(r"image1d_buffer_t p(\d+)", signatures(artifact)[step.kernel])
    return tuple(map(int, images))


def check_images(artifact: Artifact) -> None:
    """The plan says what the kernels take; which are read as whole texels, and not written."""
    for step in artifact.plan.steps:
        assert step.images == image_inputs(step, artifact)
        assert all(position < len(step.inputs) for position in step.images)
        for position in step.images:
            assert artifact.plan.buffers[step.inputs[position]].dtype in ("float16", "float32")


def test_there_are_gpus_of_both_kinds() -> None:
    assert WITH_IMAGES == ["adreno-660", "adreno-740"]
    assert "mali-g610" in WITHOUT


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_layer_equals_pytorch_through_images(name: str) -> None:
    artifact = layer(name, "adreno-660")
    artifact.verify().raise_if_failed()
    check_images(artifact)
    assert any(step.images for step in artifact.plan.steps)


def made(name: str) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    example = EXAMPLES[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in example.shapes]
    return nn.seed_weights(example.make(), 0).eval(), inputs


@pytest.mark.parametrize("name", LAYERS)
def test_half_precision_too(name: str) -> None:
    artifact = edgeconv.compile(*made(name), target="adreno-660", precision="fp16")
    artifact.verify().raise_if_failed()
    check_images(artifact)
    buffers = artifact.plan.buffers
    read = {buffers[s.inputs[i]].dtype for s in artifact.plan.steps for i in s.images}
    assert "float16" in read


def test_only_how_buffers_are_read_is_another() -> None:
    plain = edgeconv.compile(*made("separable"), target=adreno(0))
    assert "image" not in sources(plain)
    steps = layer("separable", "adreno-660").plan.steps
    assert ["textures: inputs" in place_text(step) for step in steps] == [True, True]
    assert not any("textures" in place_text(step) for step in plain.plan.steps)
    assert [step.ndrange for step in steps] == [step.ndrange for step in plain.plan.steps]


@pytest.mark.parametrize("target", WITHOUT)
def test_other_gpus_read_through_pointers(target: str) -> None:
    artifact = layer("separable", target)
    assert "image" not in sources(artifact)
    assert not any(step.images for step in artifact.plan.steps)


@pytest.mark.parametrize("name", LAYERS)
def test_oclgrind_finds_no_fault(name: str) -> None:
    artifact = layer(name, "adreno-660")
    find_no_fault(artifact, separate=not has_joined_tensors(artifact.plan))


def test_convolutions_stay_within_their_images() -> None:
    model, inputs, _ = build(SMALL)
    find_no_fault(compile_for_gpu(model, inputs, "adreno-660"))


def test_awkward_convolutions() -> None:
    check_images(check_cases(build(AWKWARD), AWKWARD, "adreno-660"))


@settings(max_examples=2, deadline=None)
@given(st.lists(cases(), min_size=12, max_size=12), st.sampled_from(WITH_IMAGES))
def test_any_convolutions(drawn: list[Case], target: str) -> None:
    check_images(check_cases(build(drawn), drawn, target))


@cache
def pointwise(target: Target) -> Artifact:
    """y = relu(w2 (w1 x)), for 16 channels, 64 and 16 again, of 12x12."""
    rng = np.random.default_rng(3)
    inputs = {"x": rng.standard_normal((1, 16, 12, 12), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["t"]),
        helper.make_node("Conv", ["t", "w2"], ["y"]),
    ]
    constants = {
        "w1": rng.standard_normal((64, 16, 1, 1), np.float32),
        "w2": rng.standard_normal((16, 64, 1, 1), np.float32),
    }
    model = graph_model(nodes, inputs, ["y"], constants)
    return compile_exported(exported(model, inputs), target, emit=Emit.BUNDLE)


def images_of(artifact: Artifact) -> list[int]:
    """The texels of all images."""
    return sorted(
        artifact.plan.buffers[step.inputs[position]].bytes // 16
        for step in artifact.plan.steps
        for position in step.images
    )


def test_what_is_too_large_for_an_image_is_no_image() -> None:
    every = images_of(pointwise(adreno(1 << 20)))
    assert len(every) >= 3
    for limit in every:
        artifact = pointwise(adreno(limit))
        assert images_of(artifact) == [texels for texels in every if texels <= limit]
        assert images_of(pointwise(adreno(limit - 1))) == [t for t in every if t < limit]
        artifact.verify(device="opencl").raise_if_failed()


def dense_block(batch: int, channels: int, size: tuple[int, int]) -> tuple[Arrays, Artifact]:
    """Each of three convolutions reads what its result is joined to."""
    rng = np.random.default_rng(channels)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    inputs = {"x": normal(batch, 4, *size)}
    around = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], **around),
        helper.make_node("Conv", ["a", "w1"], ["b"], **around),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Conv", ["s", "w1"], ["c"], **around),
        helper.make_node("Concat", ["a", "b", "c"], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", "w2"], ["y"]),
    ]
    constants = {
        "w0": normal(channels, 4, 3, 3),
        "w1": normal(channels, channels, 3, 3),
        "w2": normal(8, 3 * channels, 1, 1),
    }
    model = graph_model(nodes, inputs, ["y"], constants)
    return inputs, compile_for_gpu(model, inputs, "adreno-660")


@pytest.mark.parametrize(("batch", "size"), [(2, (5, 7)), (1, (5, 7)), (1, (8, 16))])
def test_what_lies_beside_the_result_in_memory_is_no_image(
    batch: int, size: tuple[int, int]
) -> None:
    inputs, artifact = dense_block(batch, 8, size)
    buffers = artifact.plan.buffers
    beside = 0
    for step in artifact.plan.steps:
        (result,) = (buffers[index] for index in step.outputs)
        end = result.offset + result.bytes
        for position, index in enumerate(step.inputs):
            operand = buffers[index]
            shared = (
                operand.space is result.space
                and operand.offset < end
                and result.offset < operand.offset + operand.bytes
            )
            beside += shared
            assert not (shared and position in step.images)
    assert beside > 0 or (batch, size) != (2, (5, 7))
    artifact.verify(device="opencl").raise_if_failed()
    assert open_session(artifact, "opencl").run(inputs)["y"].shape == (batch, 8, *size)
