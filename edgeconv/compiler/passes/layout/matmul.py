"""Matrix products."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.matmul import matmul_packed, matmul_plain, pack_columns
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_matmul_weight, pad_columns
from edgeconv.compiler.passes.rewriting import constant_of, op_name, shape_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import Machine, RegisterTile, register_tile, tile_counts

# With fewer rows the accumulators of several vectors hide the latency of one.
FEW_ROWS = 4


def matmul(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a matrix product; the second operand is packed, a computed one at run time."""
    data, other = forms.as_plain(call.args[0]), call.args[1]
    forms.tables.macs[var.name] = prod(shape_of(var)) * shape_of(data)[-1]
    forms.tables.families[var.name] = "matmul"
    weight = constant_of(other)
    if weight is not None:
        forms.emit(var, constant_product(forms, data, weight))
        return True
    columns = shape_of(other)[-1]
    if isinstance(forms.machine, GpuMachine):
        source, transposed = source_of(forms, other)
        tensors = [data, forms.as_plain(source)]
        forms.emit(var, forms.call(matmul_plain, tensors, columns, transposed))
        return True
    tile = product_tile(shape_of(data)[-2], columns, forms.core)
    packed = packed_late(forms, var.name, other, tile.blocks * forms.core.lanes)
    forms.emit(var, forms.call(matmul_packed, [data, packed], columns, tile.columns))
    return True


def constant_product(forms: Forms, data: relax.Expr, weight: Array) -> tvm.ir.Call:
    """Return a call that multiplies (*batch, M, K) by constants (*batch, K, N)."""
    columns = weight.shape[-1]
    if isinstance(forms.machine, GpuMachine):
        whole = constant(pad_columns(weight, forms.machine.lanes))
        return forms.call(matmul_plain, [data, whole], columns)
    tile = product_tile(shape_of(data)[-2], columns, forms.core)
    packed = constant(pack_matmul_weight(weight, tile.blocks * forms.core.lanes))
    return forms.call(matmul_packed, [data, packed], columns, tile.columns)


def product_tile(rows: int, columns: int, machine: Machine) -> RegisterTile:
    """Return how many rows (as `columns`) by vectors (as `blocks`) are computed together."""
    vectors = -(-columns // machine.lanes)
    return register_tile(
        rows,
        tile_counts(vectors) if rows >= FEW_ROWS else [FEW_ROWS],
        machine,
        block=machine.lanes,
        in_block=machine.lanes,
    )


def packed_late(forms: Forms, name: str, other: relax.Var, width: int) -> relax.Var:
    """Pack a computed matrix; a transposition before costs nothing."""
    source, transposed = source_of(forms, other)
    call = forms.call(pack_columns, [forms.as_plain(source)], width, transposed)
    packed = forms.builder.emit(call, f"{name}_packed")
    forms.tables.families[packed.name] = "layout"
    forms.tables.layers[packed.name] = forms.tables.layers.get(name, ())
    return packed


def source_of(forms: Forms, other: relax.Var) -> tuple[relax.Var, bool]:
    """Return what `other` is the transposition of, by its last two axes, or else itself."""
    definition = forms.definitions.get(other.name)
    if definition is None or op_name(definition) != "relax.permute_dims":
        return other, False
    return (definition.args[0], True) if _exchanges_last(definition) else (other, False)


def _exchanges_last(call: tvm.ir.Call) -> bool:
    """Whether a transposition exchanges the last two axes, and keeps the others."""
    rank = len(shape_of(call.args[0]))
    axes = [int(axis) % rank for axis in call.attrs.axes or reversed(range(rank))]
    return axes == [*range(rank - 2), rank - 1, rank - 2]
