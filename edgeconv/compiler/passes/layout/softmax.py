"""Softmax, as one kernel."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute import softmax as compute
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import op_name, shape_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

# What an exponential costs, in multiplications.
EXP_WORK = 16


def softmax(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a softmax over one axis, with the logits of relative position that are added before."""
    shape = shape_of(var)
    axis = int(call.attrs.axis) % len(shape)
    flat = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    relative = relative_logits(forms, call.args[0]) if axis == len(shape) - 1 else None
    data, addends, added = relative or (call.args[0], (), ())
    operands = [forms.reshaped(data, flat)]
    operands += [forms.reshaped(addend, (flat[0], length)) for addend, length in addends]
    if isinstance(forms.machine, GpuMachine):
        rows = forms.call(compute.softmax_stages, operands)
    else:
        enough = prod(shape) * EXP_WORK >= forms.core.min_parallel_macs
        parallel = enough and prod(shape) > shape[axis]
        options = {"lanes": forms.core.lanes, "parallel": parallel}
        rows = forms.call(compute.softmax, operands, **options)
    kernel = forms.merged(rows, [*added, var.name], "softmax")
    forms.emit(var, relax.op.reshape(kernel, shape))
    return True


# The data, two addends with their lengths, and the names of the sums.
Relative = tuple[relax.Expr, tuple[tuple[relax.Expr, int], ...], tuple[str, ...]]


def relative_logits(forms: Forms, logits: relax.Expr) -> Relative | None:
    """Read data + reshape(a + b), where (*rows, R, 1) and (*rows, 1, C) become (*rows, R * C)."""
    total = operands_of(forms, logits, "relax.add")
    if len(total) != 2:
        return None
    for data, view in (total, total[::-1]):
        merged = operands_of(forms, view, "relax.reshape")
        addends = operands_of(forms, merged[0], "relax.add") if merged else []
        if len(addends) != 2:
            continue
        shapes = [shape_of(addend) for addend in addends]
        if shapes[0][-1] != 1:
            addends, shapes = addends[::-1], shapes[::-1]
        (*rows, outer, one), (*same, unit, inner) = shapes
        whole = shape_of(data) == shape_of(view) and shape_of(view)[-1] == outer * inner
        if whole and one == unit == 1 and rows == same:
            names = merged[0].name, view.name, logits.name
            return data, ((addends[0], outer), (addends[1], inner)), names
    return None


def operands_of(forms: Forms, expression: relax.Expr, name: str) -> list[relax.Var]:
    """Return the tensors that an operator `name` computes `expression` of; none for others."""
    if not isinstance(expression, relax.Var):
        return []
    definition = forms.definitions.get(expression.name)
    if definition is None or op_name(definition) != name:
        return []
    return [argument for argument in definition.args if isinstance(argument, relax.Var)]
