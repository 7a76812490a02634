"""Checks that a plan's buffers lie inside their spaces, as every reader of a plan assumes."""

from __future__ import annotations

import math

import numpy as np

from edgeconv.artifact.manifest import DTYPES
from edgeconv.errors import ArtifactError
from edgeconv.plan import GPU_ALIGNMENT, Backend, Buffer, Plan, Space, Step

_DIMENSIONS = 3
_MOST = 2**32 - 1  # the runtime's tables hold 32 bits


def check_plan(plan: Plan) -> None:
    """Raise ArtifactError naming the first step or buffer of the plan that makes no sense."""
    for step in plan.steps:
        for index in step.inputs + step.outputs:
            if not 0 <= index < len(plan.buffers):
                raise ArtifactError(f"plan.json: step {step.name!r} uses no buffer: {index}.")
        problem = _launch_problem(step, plan)
        if problem:
            raise ArtifactError(
                f"plan.json: step {step.name!r} {problem}. Compile the model again."
            )
    for index, buffer in enumerate(plan.buffers):
        problem = _problem(buffer, plan)
        if problem:
            raise ArtifactError(f"plan.json: buffer {index} {problem}. Compile the model again.")


def _launch_problem(step: Step, plan: Plan) -> str:
    if step.backend is Backend.CPU:
        gpu = "work-items" if step.ndrange else "images" if step.images else ""
        return f"has {gpu}, but runs on the CPU" if gpu else ""
    if step.ndrange is None:
        return "has no work-items"
    sizes = step.ndrange.global_size, step.ndrange.local_size
    if any(len(size) != _DIMENSIONS or min(size) < 1 or max(size) > _MOST for size in sizes):
        return f"has no {_DIMENSIONS} sizes of 1 or more: {sizes}"
    if any(whole % local for whole, local in zip(*sizes, strict=True)):
        return f"has {sizes[0]} work-items, no multiple of {sizes[1]}"
    for index in step.inputs + step.outputs:
        if plan.buffers[index].offset % GPU_ALIGNMENT:
            return f"uses buffer {index}, which is no multiple of {GPU_ALIGNMENT} bytes from 0"
    return _image_problem(step, plan)


def _image_problem(step: Step, plan: Plan) -> str:
    for position in step.images:
        if not 0 <= position < len(step.inputs):
            return f"has no input {position} to read as an image"
        image = plan.buffers[step.inputs[position]]
        if image.dtype not in ("float16", "float32"):
            return f"reads {image.dtype} as an image"
        if any(_overlap(image, plan.buffers[output]) for output in step.outputs):
            return f"writes to what it reads as an image, input {position}"
    return ""


def _overlap(one: Buffer, other: Buffer) -> bool:
    if (one.space, one.index) != (other.space, other.index):
        return False
    return one.offset < other.offset + other.bytes and other.offset < one.offset + one.bytes


def _problem(buffer: Buffer, plan: Plan) -> str:
    if buffer.dtype not in DTYPES:
        return f"has no dtype: {buffer.dtype!r}"
    sizes = buffer.shape + buffer.logical_shape + buffer.frame
    if min(sizes, default=1) < 1 or _bytes(buffer.memory_shape, buffer.dtype) > buffer.bytes:
        return f"has {buffer.bytes} bytes, not those of {buffer.dtype} {list(buffer.memory_shape)}"
    if buffer.frame and not _holds(buffer.frame, buffer.begin, buffer.shape):
        return f"is {list(buffer.shape)} at {list(buffer.begin)} of only {list(buffer.frame)}"
    space = _space_bytes(buffer, plan)
    if space is None:
        return f"is {buffer.space} {buffer.index}, which there is not"
    if buffer.offset < 0 or buffer.offset + buffer.bytes > space:
        return f"ends at byte {buffer.offset + buffer.bytes} of {buffer.space}, which has {space}"
    return ""


def _space_bytes(buffer: Buffer, plan: Plan) -> int | None:
    """Return the size of the space that the buffer lies in; None if there is no such space."""
    if buffer.space is Space.ARENA:
        return plan.arena_bytes
    if buffer.space is Space.WEIGHTS:
        return plan.weights_bytes
    tensors = plan.inputs if buffer.space is Space.INPUT else plan.outputs
    if not 0 <= buffer.index < len(tensors):
        return None
    tensor = tensors[buffer.index]
    return _bytes(tensor.shape, tensor.dtype)


def _holds(frame: tuple[int, ...], begin: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a box of `shape` at `begin` lies inside `frame`."""
    return len(frame) == len(begin) == len(shape) and all(
        first >= 0 and first + extent <= size
        for size, first, extent in zip(frame, begin, shape, strict=True)
    )


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize
