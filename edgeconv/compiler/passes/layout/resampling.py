"""Resampling on a GPU: all axes in one kernel, which reads vectors of channels where it can."""

from __future__ import annotations

import tvm
from tvm import relax

from edgeconv.compiler.compute.resample import MAX_SPELLED_OUT, RESAMPLED_AXIS, resample_axes
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import op_name, shape_of, uses_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine


def resample(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a resampling and those that it alone reads; leave other functions, and CPUs."""
    axis = _axis(forms, call)
    if axis is None or not isinstance(forms.machine, GpuMachine):
        return False
    data, *tables = call.args[1].fields
    axes = [axis]
    uses = uses_of(forms.tables.main)
    while isinstance(data, relax.Var) and uses[data.name] == 1:
        before = forms.definitions.get(data.name)
        inner = None if before is None else _axis(forms, before)
        if before is None or inner is None:
            break
        data, *others = before.args[1].fields
        axes, tables = [inner, *axes], [*others, *tables]
    form, block = forms.either(data)
    if block and min(axes) < 2:
        form, block = forms.as_plain(data), 0
    forms.emit(var, forms.call(resample_axes, [form, *tables], axes=axes), block)
    return True


def _axis(forms: Forms, value: relax.Expr) -> int | None:
    """Return the axis of a resampling whose terms are written out, None for anything else."""
    if op_name(value) != "relax.call_tir":
        return None
    function = forms.tables.module[value.args[0]]
    if RESAMPLED_AXIS not in (function.attrs or {}):
        return None
    _, positions, *_ = value.args[1].fields
    few = shape_of(positions)[1:] <= (MAX_SPELLED_OUT,)
    return int(function.attrs[RESAMPLED_AXIS]) if few else None
