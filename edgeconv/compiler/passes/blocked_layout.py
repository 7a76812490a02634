"""Lays the network out in NCHWc blocks, and turns convolutions and pools into tensor expressions.

Convolutions produce blocked tensors, and whatever can follow in the same layout does; everything
else reads plain tensors. A tensor is converted once, when its other form is first needed.
Constant weights are packed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import gcd, prod

import tvm
from tvm import relax, te

from edgeconv.compiler.compute.conv import (
    conv_blocked,
    conv_plain,
    depthwise_blocked,
    pointwise_blocked,
)
from edgeconv.compiler.compute.layout import (
    block_channels,
    interleave,
    pad_spatial,
    unblock_channels,
)
from edgeconv.compiler.compute.matmul import matmul_packed, matmul_plain
from edgeconv.compiler.compute.pool import average_pool, global_average_pool, max_pool
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.graph import Graph, Value, constant
from edgeconv.compiler.passes.conv_call import (
    Convolution,
    read_conv,
    read_transposed,
    read_window,
)
from edgeconv.compiler.passes.elementwise import ELEMENTWISE
from edgeconv.compiler.passes.packing import (
    Array,
    pack_channels,
    pack_conv_weight,
    pack_depthwise_weight,
    pack_matmul_weight,
)
from edgeconv.compiler.passes.rewriting import (
    bindings_of,
    constant_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.schedules.cpu import padding
from edgeconv.compiler.schedules.machine import (
    Machine,
    channel_block,
    register_tile,
    round_up,
    tile_counts,
)

RESHAPE = "relax.reshape"


def blocked_layout(graph: Graph, machine: Machine) -> Graph:
    """Return the graph in blocked layouts for `machine`."""
    values, layers = dict(graph.values), dict(graph.layers)
    macs, families = dict(graph.macs), dict(graph.families)
    tables = replace(graph, values=values, layers=layers, macs=macs, families=families)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        layout = _Layout(builder, tables, machine)
        for parameter in graph.main.params:
            layout.plain[parameter.name] = parameter
        for var, value in bindings_of(graph.main):
            if not isinstance(value, relax.Tuple):
                layout.visit(var, value)
        return [layout.as_plain(output) for output in output_tuple(graph.main)]

    return replace(tables, module=rebuild(graph.module, body))


class _Layout:
    """The forms in which every tensor exists so far, by the old variable's name."""

    def __init__(self, builder: relax.BlockBuilder, tables: Graph, machine: Machine) -> None:
        self.builder = builder
        self.tables = tables
        self.machine = machine
        self.plain: dict[str, relax.Expr] = {}
        self.blocked: dict[str, relax.Expr] = {}

    def visit(self, var: relax.Var, value: relax.Expr) -> None:
        """Emit one binding in its best layout."""
        name = op_name(value)
        if name.endswith("_transpose"):
            self._transposed(var, value)
        elif name.startswith("relax.nn.conv"):
            self._conv(var, value)
        elif name.startswith(("relax.nn.max_pool", "relax.nn.avg_pool")):
            self._pool(var, value)
        elif name == "relax.mean" and self._is_global_pool(value):
            self._global_pool(var, value)
        elif name == "relax.matmul":
            self._matmul(var, value)
        elif isinstance(value, relax.Var):
            self._alias(var, value)
        elif not self._emit_blocked(var, name, value):
            self._emit(var, substitute(value, self.as_plain))

    def _emit_blocked(self, var: relax.Var, name: str, value: relax.Expr) -> bool:
        """Emit an operator that can work on blocked inputs; return False where it cannot."""
        if name == "relax.concat":
            return self._concat_blocked(var, value)
        return name in ELEMENTWISE and self._elementwise_blocked(var, value)

    def _call(
        self,
        compute: Callable[..., te.Tensor],
        tensors: list[relax.Expr],
        *options: object,
        **keywords: object,
    ) -> tvm.ir.Call:
        """Return a call of a TIR function that computes `compute(*tensors, ...)`."""
        return self.builder.call_te(
            lambda *arguments: compute(*arguments, *options, **keywords),
            *tensors,
            primfunc_name_hint=compute.__name__,
        )

    # Forms of a tensor.

    def as_plain(self, expression: relax.Expr) -> relax.Expr:
        """Return the plain form of an old expression, converting it where needed."""
        if not isinstance(expression, relax.Var):
            return expression
        name = expression.name
        if name not in self.plain:
            blocked = self.blocked[name]
            shape = shape_of(expression)
            if prod(shape[2:]) == 1 and shape[1] % shape_of(blocked)[-1] == 0:
                call = relax.op.reshape(blocked, shape)
            else:
                call = self._call(unblock_channels, [blocked], shape[1])
            self.plain[name] = self._emit_form(call, f"{name}_plain", expression.name, 0)
        return self.plain[name]

    def _as_blocked(self, expression: relax.Var) -> relax.Expr:
        """Return the blocked form of an old variable, converting it where needed."""
        name = expression.name
        if name not in self.blocked:
            batch, channels, *spatial = shape_of(expression)
            block = channel_block(channels, self.machine)
            if prod(spatial) == 1 and channels % block == 0:
                blocks = (batch, channels // block, *spatial, block)
                call = relax.op.reshape(self.plain[name], blocks)
            else:
                call = self._call(block_channels, [self.plain[name]], block)
            self.blocked[name] = self._emit_form(call, f"{name}_blocked", name, block)
        return self.blocked[name]

    def _emit_form(self, call: relax.Expr, name: str, old: str, block: int) -> relax.Expr:
        expression = self.builder.emit(call, name)
        self.tables.families[expression.name] = "layout"
        self._describe(expression.name, old, block)
        return expression

    def _describe(self, name: str, old: str, block: int) -> None:
        """Copy what is known of the old variable to a new one in another layout."""
        value = self.tables.values.get(old)
        if value is not None:
            self.tables.values[name] = Value(value.name, value.shape, block)

    def _emit(self, var: relax.Var, call: relax.Expr, block: int = 0) -> None:
        """Bind `call` to the old variable's name, as its plain or blocked form."""
        expression = self.builder.emit(call, var.name)
        self._describe(expression.name, var.name, block)
        (self.blocked if block else self.plain)[var.name] = expression

    def _alias(self, var: relax.Var, value: relax.Var) -> None:
        for forms in (self.plain, self.blocked):
            if value.name in forms:
                forms[var.name] = forms[value.name]

    # Convolutions.

    def _conv(self, var: relax.Var, call: tvm.ir.Call) -> None:
        conv = read_conv(call, shape_of(var))
        per_output = conv.window.taps * (conv.in_channels // conv.groups)
        self.tables.macs[var.name] = prod(shape_of(var)) * per_output
        self.tables.families[var.name] = conv.family
        self._emit(var, *self._convolve(var.name, conv))

    def _transposed(self, var: relax.Var, call: tvm.ir.Call) -> None:
        """A stride² (stride³) set of dense convolutions, one per phase, and their interleaving."""
        transposed = read_transposed(call, shape_of(var))
        self.tables.macs[var.name] = transposed.macs
        phases = transposed.phases()
        if not phases:
            self._emit(var, relax.op.zeros(shape_of(var), str(var.ty.dtype)))
            return
        parts = []
        block = 0
        for offset, conv in phases:
            name = f"{var.name}_phase_{'_'.join(map(str, offset))}"
            self.tables.layers[name] = self.tables.layers.get(var.name, ())
            self.tables.families[name] = "transposed"
            part, block = self._convolve(name, conv)
            parts.append(self.builder.emit(part, name))
        self.tables.families[var.name] = "transposed"
        offsets = [offset for offset, _ in phases]
        shape = transposed.stride, transposed.size
        self._emit(var, self._call(interleave, parts, offsets, *shape), block)

    def _convolve(self, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int]:
        """Return a call of the convolution in its best layout, and the result's block."""
        if conv.weight is None or not (conv.is_depthwise or conv.fits_blocks(self.machine)):
            return self._grouped(name, conv), 0
        if conv.is_depthwise:
            return self._depthwise(conv)
        return self._dense(name, conv)

    def _depthwise(self, conv: Convolution) -> tuple[tvm.ir.Call, int]:
        data = self._as_blocked(conv.data)
        block = shape_of(data)[-1]
        weight = constant(pack_depthwise_weight(conv.constant, block))
        return self._call(depthwise_blocked, [data, weight], conv.window), block

    def _dense(self, name: str, conv: Convolution) -> tuple[tvm.ir.Call, int]:
        block = channel_block(conv.out_channels, self.machine)
        data = self._conv_input(conv)
        counts = tile_counts(-(-conv.out_channels // block) // conv.groups)
        choose = partial(
            register_tile,
            counts=counts,
            machine=self.machine,
            block=block,
            in_block=shape_of(data)[-1],
        )
        tile = choose(conv.size[-1])
        if conv.is_pointwise:
            row_tile = choose(prod(conv.size), whole=True)
            if row_tile.cost <= tile.cost:
                return self._pointwise(conv, data, block, row_tile.blocks), block
        columns = round_up(conv.size[-1], tile.columns)
        data = self._padded(name, data, conv.window, columns)
        weight = constant(pack_conv_weight(conv.constant, block, tile.blocks))
        call = self._call(
            conv_blocked,
            [data, weight],
            conv.window,
            groups=conv.groups,
            size=conv.size,
            columns=columns,
        )
        return call, block

    def _pointwise(
        self, conv: Convolution, data: relax.Expr, block: int, tile_blocks: int
    ) -> tvm.ir.Call:
        """All pixels in one row, so that tiles need not end with the image's rows."""
        batch, blocks, *size, in_block = shape_of(data)
        row = self.builder.emit(relax.op.reshape(data, (batch, blocks, prod(size), in_block)))
        channels = conv.constant.reshape(conv.constant.shape[:2])
        weight = constant(pack_conv_weight(channels, block, tile_blocks))
        return self._call(pointwise_blocked, [row, weight], conv.size)

    def _conv_input(self, conv: Convolution) -> relax.Expr:
        """Return blocked input; few plain channels are read as blocks of one."""
        data = conv.data
        few = conv.in_channels < self.machine.lanes and conv.groups == 1
        if data.name in self.blocked or not few:
            return self._as_blocked(data)
        plain = self.plain[data.name]
        return self.builder.emit(
            relax.op.reshape(plain, (*shape_of(plain), 1)), f"{data.name}_unit_blocks"
        )

    def _grouped(self, name: str, conv: Convolution) -> tvm.ir.Call:
        """Plain layout, for groups that no block fits and for weights computed at run time."""
        columns = round_up(conv.size[-1], self.machine.lanes)
        data = self._padded(name, self.as_plain(conv.data), conv.window, columns)
        weight = self.as_plain(conv.weight_expression)
        return self._call(
            conv_plain,
            [data, weight],
            conv.window,
            groups=conv.groups,
            size=conv.size,
            columns=columns,
        )

    def _padded(self, name: str, data: relax.Expr, window: Window, columns: int) -> relax.Expr:
        """Pad `data` as the window asks, and to the right as far as `columns` outputs read."""
        rank = len(window.kernel)
        width = shape_of(data)[1 + rank]
        reach = (columns - 1) * window.stride[-1] + window.dilation[-1] * (window.kernel[-1] - 1)
        right = max(window.pad_after[-1], reach + 1 - width - window.pad_before[-1])
        after = (*window.pad_after[:-1], right)
        if not any(window.pad_before) and not any(after):
            return data
        call = self._call(pad_spatial, [data], window.pad_before, after, name=padding.ANCHOR)
        padded = self.builder.emit(call, f"{name}_pad")
        self.tables.families[padded.name] = "pad"
        self.tables.layers[padded.name] = self.tables.layers.get(name, ())
        return padded

    def _matmul(self, var: relax.Var, call: tvm.ir.Call) -> None:
        data, weight = self.as_plain(call.args[0]), constant_of(call.args[1])
        depth, columns = shape_of(call.args[1])[-2:]
        self.tables.macs[var.name] = prod(shape_of(var)) * depth
        self.tables.families[var.name] = "matmul"
        if weight is None or weight.ndim != 2:
            other = self.as_plain(call.args[1])
            tile = gcd(columns, self.machine.lanes)
            self._emit(var, self._call(matmul_plain, [data, other], tile))
            return
        # With few rows the accumulators of several vectors hide the latency of one.
        tile = self.machine.lanes * (4 if shape_of(data)[-2] < 4 else 1)
        packed = constant(pack_matmul_weight(weight, tile))
        self._emit(var, self._call(matmul_packed, [data, packed], columns))

    # Pooling.

    def _pool(self, var: relax.Var, call: tvm.ir.Call) -> None:
        attrs = call.attrs
        window = read_window(attrs.pool_size, attrs)
        self.tables.families[var.name] = "pool"
        data, block = self._either(call.args[0])
        if op_name(call).startswith("relax.nn.max_pool"):
            result = self._call(max_pool, [data], window)
        else:
            end = window.pad_after if attrs.count_include_pad else None
            result = self._call(average_pool, [data], window, end)
        self._emit(var, result, block)

    def _is_global_pool(self, call: tvm.ir.Call) -> bool:
        rank = len(shape_of(call.args[0]))
        axes = sorted(int(axis) % rank for axis in call.attrs.axis or ())
        return bool(call.attrs.keepdims) and rank > 2 and axes == list(range(2, rank))

    def _global_pool(self, var: relax.Var, call: tvm.ir.Call) -> None:
        data, block = self._either(call.args[0])
        rank = len(shape_of(call.args[0])) - 2
        self.tables.families[var.name] = "pool"
        self._emit(var, self._call(global_average_pool, [data], rank), block)

    def _either(self, data: relax.Var) -> tuple[relax.Expr, int]:
        """Return the form in which a tensor exists, blocked where both do, and its block."""
        if data.name in self.blocked:
            blocked = self.blocked[data.name]
            return blocked, shape_of(blocked)[-1]
        return self.as_plain(data), 0

    # Operators that follow the layout of their inputs.

    def _elementwise_blocked(self, var: relax.Var, call: tvm.ir.Call) -> bool:
        """Emit an element-wise operator on blocked inputs; return False where it cannot be."""
        shape = shape_of(var)
        tensors = [a for a in call.args if isinstance(a, relax.Var)]
        whole = [a for a in tensors if shape_of(a) == shape and a.name in self.blocked]
        if not whole:
            return False
        block = shape_of(self.blocked[whole[0].name])[-1]
        arguments = [self._follow(a, shape, block) for a in call.args]
        if any(argument is None for argument in arguments):
            return False
        self._emit(var, tvm.ir.Call(call.op, arguments, call.attrs), block)
        return True

    def _follow(
        self, argument: relax.Expr, shape: tuple[int, ...], block: int
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
            view = relax.op.reshape(self.as_plain(argument), (*size, 1))
            return self.builder.emit(view, f"{argument.name}_unit_blocks")
        blocked = self._as_blocked(argument)
        return blocked if shape_of(blocked)[-1] == block else None

    def _concat_blocked(self, var: relax.Var, call: tvm.ir.Call) -> bool:
        """Join blocked tensors along channels, where every one fills its blocks."""
        parts = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
        rank = len(shape_of(var))
        if int(call.attrs.axis) % rank != 1 or not parts:
            return False
        if any(not isinstance(p, relax.Var) or p.name not in self.blocked for p in parts):
            return False
        blocks = {shape_of(self.blocked[part.name])[-1] for part in parts}
        if len(blocks) != 1 or any(shape_of(part)[1] % min(blocks) for part in parts):
            return False
        joined = relax.op.concat([self.blocked[part.name] for part in parts], 1)
        self._emit(var, joined, blocks.pop())
        return True


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
