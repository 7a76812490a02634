"""Matrix products."""

from __future__ import annotations

from math import gcd, prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.matmul import matmul_packed, matmul_plain
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_matmul_weight
from edgeconv.compiler.passes.rewriting import constant_of, shape_of
from edgeconv.compiler.schedules.machine import Machine


def matmul(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a matrix product, by packed weights where they are constant."""
    data, weight = forms.as_plain(call.args[0]), constant_of(call.args[1])
    depth, columns = shape_of(call.args[1])[-2:]
    forms.tables.macs[var.name] = prod(shape_of(var)) * depth
    forms.tables.families[var.name] = "matmul"
    if weight is None or weight.ndim != 2:
        other = forms.as_plain(call.args[1])
        tile = gcd(columns, forms.machine.lanes)
        forms.emit(var, forms.call(matmul_plain, [data, other], tile))
        return True
    packed = packed_panels(weight, shape_of(data)[-2], forms.machine)
    forms.emit(var, forms.call(matmul_packed, [data, packed], columns))
    return True


def packed_panels(weight: Array, rows: int, machine: Machine) -> relax.Expr:
    """Pack constant weights (K, N) for `matmul_packed` with so many rows of data."""
    # With few rows the accumulators of several vectors hide the latency of one.
    tile = machine.lanes * (4 if rows < 4 else 1)
    return constant(pack_matmul_weight(weight, tile))
