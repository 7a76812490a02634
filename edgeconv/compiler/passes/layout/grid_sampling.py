"""Sampling at a grid on a CPU: the corners of a place are found once for all channels."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.grid_sample import GridSampling, grid_sample_blocked
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import channel_block


def sample(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a sampling of floats; leave other functions, and GPUs."""
    sampling = GridSampling.read(forms.tables.module[call.args[0]])
    if sampling is None or isinstance(forms.machine, GpuMachine):
        return False
    data, grid = call.args[1].fields
    if data.ty.dtype != "float32":
        return False
    size, places = shape_of(data)[2:], shape_of(var)[2:]
    if _pays_in_blocks(forms, data, sampling.taps ** len(size) * prod(places)):
        form = forms.as_blocked(data)
        block = shape_of(form)[-1]
    else:
        form, block = forms.as_plain(data), 0
    batch, blocks, *_ = shape_of(form)
    pixels = relax.op.reshape(form, (batch, blocks, prod(size), block or 1))
    rows = relax.op.reshape(forms.as_plain(grid), (batch, prod(places), len(size)))
    operands = [forms.builder.emit(pixels), forms.builder.emit(rows)]
    result = forms.call(grid_sample_blocked, operands, sampling, size, places)
    tables = forms.tables
    tables.families[var.name] = "grid_sample"
    if not block:
        kernel = forms.builder.emit(result, f"{var.name}_blocks")
        tables.families[kernel.name] = tables.families[var.name]
        tables.layers[kernel.name] = tables.layers.get(var.name, ())
        if var.name in tables.values:
            tables.values[kernel.name] = tables.values[var.name]
        result = relax.op.reshape(kernel, shape_of(var))
    forms.emit(var, result, block)
    return True


def _pays_in_blocks(forms: Forms, data: relax.Expr, reads: int) -> bool:
    """Whether to read blocks of channels, so often, rather than channels one by one.

    Making blocks costs about as much as reading their channels once.
    """
    if not isinstance(data, relax.Var):
        return False
    if data.name in forms.blocked:
        return True
    _, channels, *size = shape_of(data)
    return 2 * channels > channel_block(channels, forms.core) and reads > prod(size)
