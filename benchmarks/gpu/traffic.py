"""Bytes of the operands of a plan's kernels, and the least that they can be."""

from __future__ import annotations

from math import prod

import numpy as np

from edgeconv.plan import Buffer, Plan, Space


def moved(plan: Plan) -> int:
    """Return the bytes of every step's operands, each as often as a step has it."""
    operands = [plan.buffers[i] for step in plan.steps for i in (*step.inputs, *step.outputs)]
    return sum(_bytes(buffer, buffer.shape) for buffer in operands)


def needed(plan: Plan) -> int:
    """Return the same without changes of layout and without the padding lanes of activations."""
    operands = [
        plan.buffers[i]
        for step in plan.steps
        if step.family != "layout"
        for i in (*step.inputs, *step.outputs)
    ]
    return sum(
        _bytes(b, b.shape if b.space is Space.WEIGHTS else b.logical_shape) for b in operands
    )


def _bytes(buffer: Buffer, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(buffer.dtype).itemsize
