"""Which rule schedules a function: one line per kernel family.

A rule recognises its function by the name of the anchor block, which the tensor expressions in
`edgeconv.compiler.compute` give.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import s_tir

from edgeconv.compiler.schedules.bias import start_from_bias
from edgeconv.compiler.schedules.cpu import (
    conv,
    conv_plain,
    deformable,
    deformable_depthwise,
    generic,
    grouped,
    matmul,
    padding,
    pointwise,
    window,
    winograd,
)
from edgeconv.compiler.schedules.cpu.common import block_names
from edgeconv.compiler.schedules.frames import lay_in_frames
from edgeconv.compiler.schedules.machine import Machine

Rule = Callable[[s_tir.Schedule, Machine], None]

RULES: dict[str, Rule] = {
    conv.ANCHOR: conv.schedule,
    grouped.ANCHOR: grouped.schedule,
    pointwise.ANCHOR: pointwise.schedule,
    conv_plain.ANCHOR: conv_plain.schedule,
    deformable.ANCHOR: deformable.schedule,
    deformable_depthwise.ANCHOR: deformable_depthwise.schedule,
    window.ANCHOR: window.schedule,
    winograd.ANCHOR: winograd.schedule,
    matmul.ANCHOR: matmul.schedule,
    padding.ANCHOR: padding.schedule,
}


def apply_rule(function: tvm.tirx.PrimFunc, machine: Machine) -> tvm.IRModule:
    """Return a module whose one function, "main", is `function` scheduled for `machine`."""
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    if not any(str(parameter.dtype) == "int64" for parameter in function.params):
        # Relax counts in 64 bits, which 32-bit processors do by function calls.
        module = tvm.tirx.transform.ForceNarrowIndexToInt32()(module)
    sch = s_tir.Schedule(module)
    if module["main"].body.block.name_hint != "root":
        # One opaque block, a loop nest written by hand, is compiled as it stands.
        return lay_in_frames(module)
    anchor = next((name for name in block_names(sch) if name in RULES), None)
    if anchor is None:
        generic.schedule(sch, machine)
    else:
        sch = s_tir.Schedule(start_from_bias(sch.mod, anchor))
        RULES[anchor](sch, machine)
    return lay_in_frames(sch.mod)
