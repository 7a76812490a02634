"""The forms in which tensors exist while the network is laid out anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import chain
from math import prod
from typing import Any

import tvm
from tvm import relax, te

from edgeconv.compiler.compute.deformable import Sampling
from edgeconv.compiler.compute.layout import block_channels, unblock_channels
from edgeconv.compiler.graph import Graph, Value
from edgeconv.compiler.passes.elementwise import ELEMENTWISE
from edgeconv.compiler.passes.rewriting import (
    bindings_of,
    op_name,
    readers_of,
    shape_of,
    uses_of,
)
from edgeconv.compiler.schedules.gpu.machine import AnyMachine
from edgeconv.compiler.schedules.gpu.winograd_choice import WinogradPlan
from edgeconv.compiler.schedules.machine import Machine, channel_block


class Forms:
    """Plain and blocked forms of every tensor so far, by the old variable's name.

    Attributes:
        builder: takes the new bindings.
        tables: what is known of every new variable, by name.
        machine: for which core or GPU.
        stored_bytes: bytes of a float between kernels.
        in_half: ONNX nodes whose products may be summed in half precision.
        winograd: whether convolutions may take Winograd's algorithm.
        tiled: how a GPU does that, by the convolutions' names.
        definitions: the old values, by their variables' names.
        uses: how often each old variable is read, by name.
        readers: the old variables that each is read for, by name; None for the network's results.
        plain: the forms in the layout of the ONNX model.
        blocked: the forms in NCHWc, (N, ceil(C/block), *spatial, block).
        samplings: how the columns of deformable convolutions are sampled, which have no form.
        put_off: how to make tensors of no form yet, in blocks of a size, 0 for the plain form.
    """

    def __init__(
        self,
        builder: relax.BlockBuilder,
        tables: Graph,
        machine: AnyMachine,
        stored_bytes: int,
        in_half: Set[str],
        *,
        winograd: bool,
    ) -> None:
        """Start without any tensor."""
        self.builder = builder
        self.tables = tables
        self.machine = machine
        self.stored_bytes = stored_bytes
        self.in_half = in_half
        self.winograd = winograd
        self.tiled: Mapping[str, WinogradPlan] = {}
        self.definitions = {var.name: value for var, value in bindings_of(tables.main)}
        self.uses = uses_of(tables.main)
        self.readers = readers_of(tables.main)
        self.plain: dict[str, relax.Expr] = {}
        self.blocked: dict[str, relax.Expr] = {}
        self.samplings: dict[str, tuple[Sampling, tvm.ir.Call]] = {}
        self.put_off: dict[str, Callable[[int], relax.Expr]] = {}

    @property
    def core(self) -> Machine:
        """The machine, which must be a CPU's core."""
        assert isinstance(self.machine, Machine)
        return self.machine

    def as_plain(self, expression: relax.Expr) -> relax.Expr:
        """Return the plain form of an old expression, converting it where needed."""
        if not isinstance(expression, relax.Var):
            return expression
        name = expression.name
        if name not in self.plain and name in self.put_off:
            self._emit_view(expression, 0)
        elif name not in self.plain:
            blocked = self.blocked[name]
            shape = shape_of(expression)
            if prod(shape[2:]) == 1 and shape[1] % shape_of(blocked)[-1] == 0:
                call = relax.op.reshape(blocked, shape)
            else:
                call = self.call(unblock_channels, [blocked], shape[1])
            self.plain[name] = self._emit_form(call, f"{name}_plain", expression.name, 0)
        return self.plain[name]

    def as_blocked(self, expression: relax.Var) -> relax.Expr:
        """Return the blocked form of an old variable, converting it where needed."""
        name = expression.name
        if name not in self.blocked:
            batch, channels, *spatial = shape_of(expression)
            block = channel_block(channels, self.machine)
            if name in self.put_off:
                self._emit_view(expression, block)
                return self.blocked[name]
            if prod(spatial) == 1 and channels % block == 0:
                blocks = (batch, channels // block, *spatial, block)
                call = relax.op.reshape(self.plain[name], blocks)
            else:
                call = self.call(block_channels, [self.plain[name]], block)
            self.blocked[name] = self._emit_form(call, f"{name}_blocked", name, block)
        return self.blocked[name]

    def either(self, data: relax.Var) -> tuple[relax.Expr, int]:
        """Return the form in which a tensor exists, blocked where both do, and its block.

        The block of a plain tensor is 0.
        """
        if data.name in self.blocked:
            blocked = self.blocked[data.name]
            return blocked, shape_of(blocked)[-1]
        return self.as_plain(data), 0

    def stays_plain(self, name: str) -> bool:
        """Whether nothing but results of the network follow from an old variable.

        By operators that work element by element. What stands for a part of one, as the phases of a
        transposed convolution do, is not.
        """
        if name not in self.definitions:
            return False
        found, ahead = {name}, [name]
        while ahead:
            for reader in self.readers[ahead.pop()]:
                if reader is None or reader in found:
                    continue
                if op_name(self.definitions[reader]) not in ELEMENTWISE:
                    return False
                found.add(reader)
                ahead.append(reader)
        return True

    def call(
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

    def emit(self, var: relax.Var, call: relax.Expr, block: int = 0) -> None:
        """Bind `call` to the old variable's name, as its plain or blocked form."""
        expression = self.builder.emit(call, var.name)
        self._describe(expression.name, var.name, block)
        (self.blocked if block else self.plain)[var.name] = expression

    def reshaped(self, expression: relax.Expr, shape: tuple[int, ...]) -> relax.Var:
        """Return the plain form of an old expression in another shape."""
        return self.builder.emit(relax.op.reshape(self.as_plain(expression), shape))

    def merged(self, call: tvm.ir.Call, names: Sequence[str], family: str) -> relax.Var:
        """Bind a call that computes what the old variables `names` hold, the last as its result.

        For results in a shape of the kernel's own, from which the last variable follows.
        """
        tables = self.tables
        kernel = self.builder.emit(call, f"{names[-1]}_rows")
        tables.families[kernel.name] = family
        layers = [tables.layers.get(name, ()) for name in names]
        tables.layers[kernel.name] = tuple(dict.fromkeys(chain.from_iterable(layers)))
        if names[-1] in tables.values:
            tables.values[kernel.name] = tables.values[names[-1]]
        return kernel

    def alias(self, var: relax.Var, value: relax.Var) -> None:
        """Let `var` have the forms of `value`."""
        forms: dict[str, Any]
        for forms in (self.plain, self.blocked, self.put_off):
            if value.name in forms:
                forms[var.name] = forms[value.name]

    def _emit_view(self, var: relax.Var, block: int) -> None:
        """Make what was put off."""
        self.emit(var, self.put_off[var.name](block), block)
        made = (self.blocked if block else self.plain)[var.name]
        self.tables.views.add(made.name)

    def _emit_form(self, call: relax.Expr, name: str, old: str, block: int) -> relax.Expr:
        expression = self.builder.emit(call, name)
        self.tables.families[expression.name] = "layout"
        self.tables.views.add(expression.name)
        self._describe(expression.name, old, block)
        return expression

    def _describe(self, name: str, old: str, block: int) -> None:
        """Copy what is known of the old variable to a new one in another layout."""
        value = self.tables.values.get(old)
        if value is not None:
            self.tables.values[name] = Value(value.name, value.shape, block)
