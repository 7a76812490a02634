"""Convolutions: `WAYS` lists the ways to compute one, one file each."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.layout import interleave
from edgeconv.compiler.passes.conv_call import Convolution, read_conv, read_transposed
from edgeconv.compiler.passes.layout.convolutions import (
    deformable,
    depthwise,
    dilated,
    direct,
    gpu,
    gpu_deformable,
    gpu_winograd,
    grouped,
    pixel,
    plain,
    pointwise,
    pointwise_plain,
    temporal,
    winograd,
)
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

# Returns a call that computes the convolution and the result's block, 0 for a plain result; or
# None where this is not the way. The name is that of the convolution's variable.
Way = Callable[[Forms, str, Convolution], tuple[tvm.ir.Call, int] | None]

# The first that takes a convolution computes it.
WAYS: tuple[Way, ...] = (
    deformable.lower,
    depthwise.lower,
    pointwise_plain.lower,
    pointwise.lower,
    temporal.lower,
    winograd.lower,
    dilated.lower,
    grouped.lower,
    direct.lower,
    plain.lower,
)

GPU_WAYS: tuple[Way, ...] = (
    gpu_deformable.lower,
    gpu.depthwise,
    gpu.pointwise,
    gpu.narrow,
    gpu_winograd.lower,
    gpu.direct,
    gpu.grouped,
)


def convolution(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a convolution."""
    conv = read_conv(call, shape_of(var))
    per_output = conv.window.taps * (conv.in_channels // conv.groups)
    forms.tables.macs[var.name] = prod(shape_of(var)) * per_output
    forms.tables.families[var.name] = conv.family
    forms.emit(var, *_convolve(forms, var.name, conv))
    return True


def transposed_convolution(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit stride² (stride³) convolutions, one per phase, and their interleaving.

    GPUs compute them together, where there are not too many.
    """
    transposed = read_transposed(call, shape_of(var))
    tables = forms.tables
    tables.macs[var.name] = transposed.macs
    from_pixel = pixel.spread(forms, var.name, transposed)
    if from_pixel is not None:
        forms.emit(var, *from_pixel)
        return True
    if isinstance(forms.machine, GpuMachine):
        together = gpu.phases(forms, var.name, transposed)
        if together is not None:
            tables.families[var.name] = "transposed"
            forms.emit(var, *together)
            return True
    phases = transposed.phases()
    if not phases:
        forms.emit(var, relax.op.zeros(shape_of(var), str(var.ty.dtype)))
        return True
    parts = []
    block = 0
    for offset, conv in phases:
        name = f"{var.name}_phase_{'_'.join(map(str, offset))}"
        tables.layers[name] = tables.layers.get(var.name, ())
        tables.families[name] = "transposed"
        part, block = _convolve(forms, name, conv)
        parts.append(forms.builder.emit(part, name))
    tables.families[var.name] = "transposed"
    offsets = [offset for offset, _ in phases]
    shape = transposed.stride, transposed.size
    forms.emit(var, forms.call(interleave, parts, offsets, *shape), block)
    return True


def _convolve(forms: Forms, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int]:
    ways = GPU_WAYS if isinstance(forms.machine, GpuMachine) else WAYS
    lowered = (way(forms, name, conv) for way in ways)
    return next(call for call in lowered if call is not None)
