"""Bytes of the operands of a plan's kernels, and the least that they can be."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import prod

import numpy as np

from edgeconv.compiler.compute.toom_cook import TAPS
from edgeconv.plan import Buffer, Plan, Space, Step

# The family of the kernels between a convolution's input and what transforms tiles back.
WINOGRAD = "winograd"


def moved(plan: Plan) -> int:
    """Return the bytes of every step's operands, each as often as a step has it."""
    operands = [plan.buffers[i] for step in plan.steps for i in (*step.inputs, *step.outputs)]
    return sum(_bytes(buffer, buffer.shape) for buffer in operands)


def needed(plan: Plan) -> int:
    """Return the same without changes of layout and without the padding lanes of activations.

    Winograd's kernels count as the one convolution that they compute: its input, its weights as
    they are without a transform, and its output.
    """
    within = {i for step in plan.steps if step.family == WINOGRAD for i in step.outputs}
    return sum(
        size
        for step in plan.steps
        if step.family != "layout"
        for i, size in _needed(plan, step)
        if i not in within
    )


def by_tiles(plan: Plan) -> int:
    """Return the bytes of Winograd's transformed tiles and weights beyond those of `needed`."""
    within = {i for step in plan.steps if step.family == WINOGRAD for i in step.outputs}
    tiles = sum(
        _bytes(plan.buffers[i], plan.buffers[i].shape)
        for step in plan.steps
        for i in (*step.inputs, *step.outputs)
        if i in within
    )
    return tiles + sum(
        _bytes(plan.buffers[i], plan.buffers[i].shape) - size
        for step in plan.steps
        if step.family == WINOGRAD
        for i, size in _needed(plan, step)
        if plan.buffers[i].space is Space.WEIGHTS
    )


def _needed(plan: Plan, step: Step) -> Iterator[tuple[int, int]]:
    """Yield the operands of a step, by their places in the plan, and their bytes."""
    for i in (*step.inputs, *step.outputs):
        buffer = plan.buffers[i]
        if buffer.space is not Space.WEIGHTS:
            yield i, _bytes(buffer, buffer.logical_shape)
        elif step.family != WINOGRAD:
            yield i, _bytes(buffer, buffer.shape)
        else:
            # (blocks, side, side, ...), in single precision whatever the network is stored in.
            stored = min(np.dtype(b.dtype).itemsize for b in plan.buffers if "float" in b.dtype)
            places = Fraction(TAPS**2, prod(buffer.shape[1:3]))
            yield i, int(prod(buffer.shape) * places) * stored


def _bytes(buffer: Buffer, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(buffer.dtype).itemsize
