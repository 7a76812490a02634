"""Attention, softmax(Q K^T) V, as one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute import attention as compute
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.layout.matmul import (
    FEW_ROWS,
    matmul,
    packed_late,
    product_tile,
    source_of,
)
from edgeconv.compiler.passes.layout.softmax import EXP_WORK, operands_of, relative_logits
from edgeconv.compiler.passes.rewriting import shape_of
from edgeconv.compiler.schedules.cpu.blocking import TASKS
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, round_up

# The logits of a task fill this part of a second-level cache, beside keys and values.
LOGITS_PART = 8


def attention_or_matmul(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a product, with the softmax and the product before it where that is attention."""
    found = _read(forms, call) if isinstance(forms.machine, Machine) else None
    if found is None:
        return matmul(forms, var, call)
    _emit(forms, var, found)
    return True


@dataclass(frozen=True)
class _Attention:
    """What a product with values computes.

    Attributes:
        queries: (*batch, M, D).
        keys: (*batch, D, K).
        values: (*batch, K, N).
        addends: logits of relative position, (*batch, ..., R, 1) and (*batch, ..., 1, C) of M rows,
            with R and C, of which K is the product; or none.
        between: the variables that nothing else reads: logits and their softmax.
    """

    queries: relax.Var
    keys: relax.Var
    values: relax.Var
    addends: tuple[tuple[relax.Expr, int], ...]
    between: tuple[str, ...]


def _read(forms: Forms, call: tvm.ir.Call) -> _Attention | None:
    """Return the attention whose last product is `call`; None where it is none."""
    weights, values = call.args
    softmax = operands_of(forms, weights, "relax.nn.softmax")
    if not softmax or not isinstance(values, relax.Var):
        return None
    axis = int(forms.definitions[weights.name].attrs.axis)
    logits, addends, added = relative_logits(forms, softmax[0]) or (softmax[0], (), ())
    product = operands_of(forms, logits, "relax.matmul")
    if axis not in (-1, len(shape_of(weights)) - 1) or len(product) != 2:
        return None
    queries, keys = product
    between = (logits.name, *added, weights.name)
    batches = {shape_of(operand)[:-2] for operand in (queries, keys, values)}
    alone = all(forms.uses[name] == 1 for name in between)
    many = shape_of(queries)[-2] >= FEW_ROWS
    if not alone or not many or len(batches) > 1 or str(values.ty.dtype) != "float32":
        return None
    return _Attention(queries, keys, values, addends, between)


def _emit(forms: Forms, var: relax.Var, found: _Attention) -> None:
    """Bind `var` to the result of one kernel."""
    machine = forms.core
    *batch, rows, depth = shape_of(found.queries)
    count, (keys, columns) = prod(batch), shape_of(found.values)[-2:]
    key_tile = product_tile(rows, keys, machine)
    value_tile = None
    if columns < machine.lanes:
        # Sums along keys fill vectors, columns would not.
        values = _rows(forms, found.values)
    else:
        value_tile = product_tile(rows, columns, machine)
        values = packed_late(forms, var.name, found.values, value_tile.blocks * machine.lanes)
    packed = packed_late(forms, found.between[0], found.keys, key_tile.blocks * machine.lanes)
    operands = [
        forms.builder.emit(relax.op.reshape(operand, (count, *shape_of(operand)[len(batch) :])))
        for operand in (forms.as_plain(found.queries), packed, values)
    ]
    operands += [forms.reshaped(addend, (count * rows, size)) for addend, size in found.addends]
    macs = count * rows * keys * (depth + columns)
    tiling = compute.Tiling(
        lanes=machine.lanes,
        rows=_task_rows(count, rows, keys, key_tile.columns, machine),
        key_rows=key_tile.columns,
        value_rows=value_tile.columns if value_tile else 0,
        steps=machine.lanes if machine.lane_fma else 1,
        parallel=macs + count * rows * keys * EXP_WORK >= machine.min_parallel_macs,
    )
    call = forms.call(compute.attention, operands, columns=columns, tiling=tiling)
    kernel = forms.merged(call, [*found.between, var.name], "attention")
    forms.tables.macs[kernel.name] = macs
    forms.emit(var, relax.op.reshape(kernel, shape_of(var)))


def _rows(forms: Forms, values: relax.Var) -> relax.Expr:
    """Return values (*batch, K, N) as (*batch, N, K), which they often were before."""
    source, transposed = source_of(forms, values)
    if transposed:
        return forms.as_plain(source)
    *batch, keys, columns = range(len(shape_of(values)))
    order = [*batch, columns, keys]
    return forms.builder.emit(relax.op.permute_dims(forms.as_plain(values), order))


def _task_rows(batch: int, rows: int, keys: int, granule: int, machine: Machine) -> int:
    """Return how many rows a task takes: whole register tiles, but in the last task of a batch."""
    cache = machine.l2_bytes // (machine.cores if machine.l2_shared else 1)
    most = max(1, cache // LOGITS_PART // (keys * FLOAT_BYTES))
    tasks = max(-(-rows // most), -(-TASKS * machine.cores // batch))
    return min(rows, round_up(-(-rows // tasks), granule))
