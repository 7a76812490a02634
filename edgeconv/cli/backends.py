"""Which steps of a network run where, and why, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeconv.cli import console

if TYPE_CHECKING:
    from edgeconv.artifact import Artifact
    from edgeconv.plan import Step


def count_text(steps: Sequence[Step]) -> str:
    """Return how many steps there are, and where they run if not all on the CPU."""
    launches = sum(step.ndrange is not None for step in steps)
    if not launches:
        return str(len(steps))
    return f"{launches} on the GPU, {len(steps) - launches} on the CPU"


def place_text(step: Step) -> str:
    """Return what computes a step: the GPU with its work-items and images, or the CPU and why."""
    if step.ndrange is None:
        return f"CPU: {step.reason}" if step.reason else "CPU"
    whole, local = (
        "x".join(map(str, size)) for size in (step.ndrange.global_size, step.ndrange.local_size)
    )
    numbers = ", ".join(map(str, step.images))
    textures = f", textures: inputs {numbers}" if numbers else ""
    half = f", half precision for {step.half_run} terms" if step.half_run else ""
    return f"GPU, {whole} by {local}{textures}{half}"


def precision_text(artifact: Artifact) -> str:
    """Return how tensors are stored, and how many steps calculate in half precision."""
    steps = sum(step.half_run > 0 for step in artifact.plan.steps)
    half = f", half arithmetic in {steps} steps" if steps else ""
    return f"{artifact.manifest.precision.value}{half}"


def show_refused(refused: Mapping[str, str]) -> None:
    """Tell which steps of a GPU's network the CPU computes, if any does."""
    if refused:
        listed = "; ".join(f"{name} ({reason})" for name, reason in refused.items())
        console.warn(f"computed by the CPU: {listed}", title="not on the GPU")
