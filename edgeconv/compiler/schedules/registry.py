"""Which rule schedules a function: one line per kernel family.

A rule recognises its function by the name of the anchor block, which the tensor expressions in
`edgeconv.compiler.compute` give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tvm
from tvm import s_tir

from edgeconv.compiler.compute.convert import WIDEN
from edgeconv.compiler.schedules.bias import start_from_bias
from edgeconv.compiler.schedules.common import block_names, inline_operands, is_reduction, narrowed
from edgeconv.compiler.schedules.cpu import (
    conv,
    conv_plain,
    conv_window,
    deformable,
    deformable_depthwise,
    generic,
    grid_sample,
    grouped,
    matmul,
    padding,
    pointwise,
    pointwise_plain,
    relayout,
    rows,
    window,
    winograd,
)
from edgeconv.compiler.schedules.frames import lay_in_frames
from edgeconv.compiler.schedules.gpu import conv as gpu_conv
from edgeconv.compiler.schedules.gpu import deformable as gpu_deformable
from edgeconv.compiler.schedules.gpu import deformable_depthwise as gpu_deformable_depthwise
from edgeconv.compiler.schedules.gpu import generic as gpu_generic
from edgeconv.compiler.schedules.gpu import grouped as gpu_grouped
from edgeconv.compiler.schedules.gpu import matmul as gpu_matmul
from edgeconv.compiler.schedules.gpu import one_group
from edgeconv.compiler.schedules.gpu import phases as gpu_phases
from edgeconv.compiler.schedules.gpu import pointwise as gpu_pointwise
from edgeconv.compiler.schedules.gpu import rows as gpu_rows
from edgeconv.compiler.schedules.gpu import window as gpu_window
from edgeconv.compiler.schedules.gpu import winograd as gpu_winograd
from edgeconv.compiler.schedules.gpu.machine import AnyMachine, GpuMachine
from edgeconv.compiler.schedules.gpu.refusal import GpuRefusalError
from edgeconv.compiler.schedules.gpu.views import take_views
from edgeconv.compiler.schedules.machine import Machine

Rule = Callable[[s_tir.Schedule, Machine], None]
GpuRule = Callable[[s_tir.Schedule, GpuMachine], None]

RULES: dict[str, Rule] = {
    conv.ANCHOR: conv.schedule,
    grouped.ANCHOR: grouped.schedule,
    grouped.TURNING: grouped.schedule_turning,
    pointwise.ANCHOR: pointwise.schedule,
    pointwise_plain.ANCHOR: pointwise_plain.schedule,
    conv_plain.ANCHOR: conv_plain.schedule,
    deformable.ANCHOR: deformable.schedule,
    deformable_depthwise.ANCHOR: deformable_depthwise.schedule,
    grid_sample.ANCHOR: grid_sample.schedule,
    window.ANCHOR: window.schedule,
    winograd.ANCHOR: winograd.schedule,
    matmul.ANCHOR: matmul.schedule,
    padding.ANCHOR: padding.schedule,
    rows.ANCHOR: rows.schedule,
    **dict.fromkeys(relayout.ANCHORS, relayout.schedule),
}


GPU_RULES: dict[str, GpuRule] = {
    gpu_phases.ANCHOR: gpu_phases.schedule,
    gpu_conv.ANCHOR: gpu_conv.schedule,
    gpu_pointwise.ANCHOR: gpu_pointwise.schedule,
    gpu_grouped.ANCHOR: gpu_grouped.schedule,
    gpu_window.ANCHOR: gpu_window.schedule,
    gpu_deformable_depthwise.ANCHOR: gpu_deformable_depthwise.schedule,
    gpu_deformable.ANCHOR: gpu_deformable.schedule,
    gpu_matmul.ANCHOR: gpu_matmul.schedule,
    gpu_winograd.INPUT: gpu_winograd.schedule_input,
    gpu_winograd.PRODUCT: gpu_winograd.schedule_product,
    gpu_winograd.OUTPUT: gpu_winograd.schedule_output,
    **dict.fromkeys(gpu_rows.ANCHORS, gpu_rows.schedule),
}

# Two families in one kernel, by both anchors.
PAIR_RULES: dict[tuple[str, str], Rule] = {
    (anchor, conv_window.WINDOW): conv_window.schedule for anchor in conv_window.CONVOLUTIONS
}

# Sums that several work-items share, whose parts cannot all start from a bias.
SHARED_SUMS = (gpu_matmul.ANCHOR,)


def apply_rule(function: tvm.tirx.PrimFunc, machine: AnyMachine) -> tvm.IRModule:
    """Return a module whose one function, "main", is `function` scheduled for `machine`.

    Raises GpuRefusalError where a GPU cannot compute it.
    """
    if isinstance(machine, GpuMachine):
        return _scheduled(function, machine, GPU_RULES, gpu_generic.schedule)
    return _scheduled(function, machine, RULES, generic.schedule)


def apply_generic_rule(function: tvm.tirx.PrimFunc, machine: Machine) -> tvm.IRModule:
    """Schedule what was made for a GPU, but cannot run there; otherwise as `apply_rule`."""
    return _scheduled(function, machine, {}, generic.schedule)


def _scheduled(
    function: tvm.tirx.PrimFunc, machine: Any, rules: Mapping[str, Any], otherwise: Any
) -> tvm.IRModule:
    module = narrowed(function)
    sch = s_tir.Schedule(module)
    if module["main"].body.block.name_hint != "root":
        if isinstance(machine, GpuMachine):
            raise GpuRefusalError("its loops are sequential")
        # One opaque block, a loop nest written by hand, is compiled as it stands.
        return lay_in_frames(module)
    inline_operands(sch, WIDEN)
    if one_group.ONE_GROUP in (function.attrs or {}) and isinstance(machine, GpuMachine):
        one_group.schedule(sch, machine)
        return lay_in_frames(sch.mod)
    names = block_names(sch)
    anchors = _anchors(names, rules)
    if not anchors and not any(is_reduction(sch, sch.get_sblock(name)) for name in names):
        otherwise(sch, machine)
        return lay_in_frames(sch.mod)
    module, views = take_views(sch.mod)
    for anchor in anchors:
        if rules is not GPU_RULES or anchor not in SHARED_SUMS:
            module = start_from_bias(module, anchor)
    sch = s_tir.Schedule(module)
    if len(anchors) == 2:
        PAIR_RULES[anchors](sch, machine)
    else:
        rule = rules[anchors[0]] if anchors else otherwise
        rule(sch, machine)
    return lay_in_frames(views.put(sch.mod))


def _anchors(names: Sequence[str], rules: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the blocks that say which rule schedules a function; none for those without."""
    if rules is RULES:
        for pair in PAIR_RULES:
            if set(pair) <= set(names):
                return pair
    return tuple(name for name in rules if name in names)[:1]
