"""Pooling, in the layout in which its input exists."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax, te

from edgeconv.compiler.compute.pool import average_pool, global_average_pool, max_pool
from edgeconv.compiler.passes.conv_call import read_window
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import shape_of


def max_pooling(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a maximum over windows."""
    return _pool(forms, var, max_pool, call.args[0], read_window(call.attrs.pool_size, call.attrs))


def average_pooling(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a mean over windows, with the padding or without."""
    window = read_window(call.attrs.pool_size, call.attrs)
    end = window.pad_after if call.attrs.count_include_pad else None
    return _pool(forms, var, average_pool, call.args[0], window, end)


def global_pooling(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a mean over all spatial axes; return False for other axes."""
    rank = len(shape_of(call.args[0]))
    axes = sorted(int(axis) % rank for axis in call.attrs.axis or ())
    if not call.attrs.keepdims or rank <= 2 or axes != list(range(2, rank)):
        return False
    return _pool(forms, var, global_average_pool, call.args[0], rank - 2)


def _pool(
    forms: Forms,
    var: relax.Var,
    compute: Callable[..., te.Tensor],
    data: relax.Var,
    *options: object,
) -> bool:
    forms.tables.families[var.name] = "pool"
    form, block = forms.either(data)
    forms.emit(var, forms.call(compute, [form], *options), block)
    return True
