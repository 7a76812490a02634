"""Softmax, as one kernel."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute import softmax as compute
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.cpu.common import MIN_PARALLEL_WORK

# What an exponential costs, in multiplications.
EXP_WORK = 16


def softmax(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a softmax over one axis."""
    shape = shape_of(var)
    axis = int(call.attrs.axis) % len(shape)
    flat = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    rows = forms.builder.emit(relax.op.reshape(forms.as_plain(call.args[0]), flat))
    parallel = prod(shape) * EXP_WORK >= MIN_PARALLEL_WORK and prod(shape) > shape[axis]
    result = forms.call(compute.softmax, [rows], forms.machine.lanes, parallel)
    tables = forms.tables
    kernel = forms.builder.emit(result, f"{var.name}_rows")
    tables.families[kernel.name] = "softmax"
    tables.layers[kernel.name] = tables.layers.get(var.name, ())
    if var.name in tables.values:
        tables.values[kernel.name] = tables.values[var.name]
    forms.emit(var, relax.op.reshape(kernel, shape))
    return True
