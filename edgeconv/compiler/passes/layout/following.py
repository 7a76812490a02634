"""Operators that follow the layout of their inputs."""

from __future__ import annotations

from math import prod

import tvm
from tvm import relax

from edgeconv.compiler.compute.layout import join_channels
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.packing import Array, pack_channels
from edgeconv.compiler.passes.rewriting import constant_of, shape_of, substitute
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import channel_block


def elementwise(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit an element-wise operator on blocked inputs; return False where it cannot be."""
    shape = shape_of(var)
    tensors = [a for a in call.args if isinstance(a, relax.Var)]
    whole = [a for a in tensors if shape_of(a) == shape and a.name in forms.blocked]
    if not whole:
        return False
    block = shape_of(forms.blocked[whole[0].name])[-1]
    arguments = [_follow(forms, a, shape, block) for a in call.args]
    if any(argument is None for argument in arguments):
        return False
    forms.emit(var, tvm.ir.Call(call.op, arguments, call.attrs), block)
    return True


def concat(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Join blocked tensors along channels; on CPUs, where every one fills its blocks."""
    parts = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
    rank = len(shape_of(var))
    if rank < 3 or int(call.attrs.axis) % rank != 1 or not parts:
        return False
    if any(not isinstance(p, relax.Var) for p in parts):
        return False
    blocks = {shape_of(forms.blocked[p.name])[-1] if p.name in forms.blocked else 0 for p in parts}
    if len(blocks) == 1 and min(blocks) and all(shape_of(p)[1] % min(blocks) == 0 for p in parts):
        joined = relax.op.concat([forms.blocked[part.name] for part in parts], 1)
        forms.emit(var, joined, blocks.pop())
        return True
    if not isinstance(forms.machine, GpuMachine) or not any(blocks):
        return False
    block = forms.machine.lanes
    forms.tables.families[var.name] = "concat"
    forms.emit(var, _joined(forms, parts, 0, shape_of(var)[1], block), block)
    return True


def channel_slice(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Take some channels of a blocked tensor.

    On CPUs whole blocks, or plain channels of the plain form; on GPUs any, in the form in which
    they are read first.
    """
    data, _, begins, *_ = call.args
    before, after = shape_of(data), shape_of(var)
    one = len(begins) == 1 and before[:1] + before[2:] == after[:1] + after[2:]
    if not one or before[1] == after[1] or data.name not in forms.blocked:
        return False
    first = int(begins[0].value)
    if not isinstance(forms.machine, GpuMachine):
        block = shape_of(forms.blocked[data.name])[-1]
        whole = first % block == after[1] % block == 0
        if not whole or block != channel_block(after[1], forms.machine):
            return False
        begin, end = first // block, (first + after[1]) // block
        blocks = relax.op.strided_slice(forms.blocked[data.name], [1], [begin], [end])
        forms.emit(var, blocks, block)
        forms.put_off[var.name] = lambda _: substitute(call, forms.as_plain)
        return True
    forms.tables.families[var.name] = "slice"
    forms.put_off[var.name] = lambda block: _joined(forms, [data], first, after[1], block)
    return True


def _joined(
    forms: Forms, parts: list[relax.Var], first: int, channels: int, block: int
) -> tvm.ir.Call:
    """Return a call that takes `channels` of the parts side by side, in blocks; 0 for plain."""
    found = [forms.either(part) for part in parts]
    counts, blocks = [shape_of(part)[1] for part in parts], [of for _, of in found]
    tensors = [tensor for tensor, _ in found]
    return forms.call(join_channels, tensors, counts, blocks, first, channels, block)


def reshape(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Make samples channels or channels samples, where the blocks stay whole."""
    data = call.args[0]
    before, after = shape_of(data), shape_of(var)
    if not isinstance(data, relax.Var) or data.name not in forms.blocked:
        return False
    if len(after) < 3 or before[2:] != after[2:]:
        return False
    block = shape_of(forms.blocked[data.name])[-1]
    if before[1] % block or after[1] % block:
        return False
    blocks = (after[0], after[1] // block, *after[2:], block)
    forms.emit(var, relax.op.reshape(forms.blocked[data.name], blocks), block)
    return True


def broadcast(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Repeat a blocked tensor along the batch and in space; return False for any other."""
    data, shape = call.args[0], shape_of(var)
    blocked = forms.blocked.get(getattr(data, "name", ""))
    if blocked is None or shape_of(data)[1:2] != shape[1:2] or len(shape_of(data)) != len(shape):
        return False
    _, outer, *_, block = shape_of(blocked)
    repeated = relax.op.broadcast_to(blocked, (shape[0], outer, *shape[2:], block))
    forms.emit(var, repeated, block)
    return True


def repeat(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Repeat every element of a blocked tensor along an axis of space."""
    data, axis = call.args[0], int(call.attrs.axis) % len(shape_of(var))
    blocked = forms.blocked.get(getattr(data, "name", ""))
    if blocked is None or axis < 2:
        return False
    repeated = relax.op.repeat(blocked, int(call.attrs.repeats), axis)
    forms.emit(var, repeated, shape_of(blocked)[-1])
    return True


def _follow(
    forms: Forms, argument: relax.Expr, shape: tuple[int, ...], block: int
) -> relax.Expr | None:
    """Return an operand that broadcasts against a blocked tensor of `shape`, or None."""
    constant = constant_of(argument)
    if constant is not None:
        return _blocked_constant(constant, shape, block)
    if not isinstance(argument, relax.Var):
        return argument
    size = shape_of(argument)
    if len(size) != len(shape):
        return None
    if size[1] == 1 and shape[1] != 1:
        view = relax.op.reshape(forms.as_plain(argument), (*size, 1))
        return forms.builder.emit(view, f"{argument.name}_unit_blocks")
    if prod(size[2:]) == 1 and argument.name in forms.plain and size[1] % block == 0:
        # One value per channel has blocks of any size.
        blocks = (size[0], size[1] // block, *size[2:], block)
        return forms.builder.emit(relax.op.reshape(forms.plain[argument.name], blocks))
    blocked = forms.as_blocked(argument)
    return blocked if shape_of(blocked)[-1] == block else None


def _blocked_constant(constant: Array, shape: tuple[int, ...], block: int) -> relax.Expr:
    """Return a constant in a form that broadcasts against a blocked tensor of `shape`."""
    aligned = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    if aligned.size == 1:
        packed = aligned.reshape(())
    elif aligned.shape[1] == shape[1]:
        packed = pack_channels(aligned, block)
    else:
        packed = aligned[..., None]
    return relax.const(packed, str(constant.dtype))
