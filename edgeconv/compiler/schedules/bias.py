"""Lets sums start from the bias instead of zero, which saves an addition per output."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from edgeconv.compiler.schedules.common import block_names


def start_from_bias(module: tvm.IRModule, anchor: str) -> tvm.IRModule:
    """Return `module` with the sum of block `anchor` started from what is added to it first.

    Copies (crops, changes of shape) may stand between the sum and the addition. The module is
    returned as it is unless the addend depends only on axes of the sum that the copies leave as
    they are, such as the channel.
    """
    sch = s_tir.Schedule(module)
    names = block_names(sch)
    total, *after = (sch.get(sch.get_sblock(name)) for name in names[names.index(anchor) :])
    if not _starts_from_zero(total):
        return module
    # Axes of the sum, by their positions in the tensor that is read next.
    axes = {
        position: axis
        for position, index in enumerate(total.init.indices)
        if (axis := _axis(total, index)) is not None
    }
    tensor = total.init.buffer
    while True:
        readers = [block for block in after if any(r.source.same_as(tensor) for r in block.reads)]
        if len(readers) != 1 or not isinstance(readers[0].body, tirx.BufferStore):
            return module
        (reader,) = readers
        if reader.init is not None:
            return module  # what it adds are sums of its own
        value = reader.body.value
        operands = (value.a, value.b) if isinstance(value, tirx.Add) else (value,)
        sums = [o for o in operands if _reads(o, tensor)]
        if len(sums) != 1:
            return module
        known = _known_axes(reader, sums[0], axes)
        if len(operands) == 2:
            (addend,) = (o for o in operands if not o.same_as(sums[0]))
            start = _at(addend, known)
            return module if start is None else _restarted(module, total, start, reader, sums[0])
        axes = {
            position: known[index.name]
            for position, index in enumerate(reader.body.indices)
            if isinstance(index, tirx.Var) and index.name in known
        }
        tensor = reader.body.buffer


def _starts_from_zero(block: Any) -> bool:
    start = block.init.value if isinstance(block.init, tirx.BufferStore) else None
    return isinstance(start, tirx.FloatImm) and start.value == 0


def _axis(block: Any, index: Any) -> Any:
    """Return the axis of `block` that `index` is; None where it is an expression."""
    return next((axis for axis in block.iter_vars if axis.var.same_as(index)), None)


def _reads(value: Any, tensor: Any) -> bool:
    return isinstance(value, tvm.ir.TensorLoad) and bool(value.source.same_as(tensor))


def _known_axes(reader: Any, load: Any, axes: dict[int, Any]) -> dict[str, Any]:
    """Return the axes of the sum by the names of the reader's variables that run over them."""
    known = {}
    for position, index in enumerate(load.indices):
        here = _axis(reader, index)
        axis = axes.get(position)
        if here is not None and axis is not None and int(here.dom.extent) == int(axis.dom.extent):
            known[here.var.name] = axis
    return known


def _at(addend: Any, known: dict[str, Any]) -> Any:
    """Return `addend`, a load, at the axes of the sum; None where it depends on others."""
    if not isinstance(addend, tvm.ir.TensorLoad):
        return None
    indices = []
    for index in addend.indices:
        if isinstance(index, tirx.IntImm):
            indices.append(index)
        elif isinstance(index, tirx.Var) and index.name in known:
            indices.append(known[index.name].var)
        else:
            return None
    return tirx.BufferLoad(addend.source, indices)


def _restarted(
    module: tvm.IRModule, total: Any, start: Any, reader: Any, passed_on: Any
) -> tvm.IRModule:
    """Return the module in which `total` begins with `start` and `reader` only copies."""

    def replace(block: Any) -> Any:
        if block.name_hint == total.name_hint:
            init = tirx.BufferStore(total.init.buffer, start, total.init.indices)
            return s_tir.SBlock(
                block.iter_vars, block.reads, block.writes, block.name_hint, block.body, init
            )
        if block.name_hint == reader.name_hint:
            reads = [region for region in block.reads if region.source.same_as(passed_on.source)]
            body = tirx.BufferStore(block.body.buffer, passed_on, block.body.indices)
            return s_tir.SBlock(block.iter_vars, reads, block.writes, block.name_hint, body)
        return block

    changed = tvm_ffi.structural_map(module["main"], (s_tir.SBlock, replace))
    return tvm.IRModule({"main": changed})
