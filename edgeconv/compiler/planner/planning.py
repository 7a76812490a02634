"""From the fused Relax function to a static plan: steps, buffers, offsets, weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
import onnx
import tvm
from tvm import relax

from edgeconv.compiler.codegen import Kernel
from edgeconv.compiler.graph import Graph, Value
from edgeconv.compiler.passes import ALIASING, CALL_TIR, pointer_offset
from edgeconv.compiler.passes.rewriting import (
    bindings_of,
    constant_of,
    op_name,
    output_tuple,
    shape_of,
)
from edgeconv.compiler.planner.arena import Arena, Lifetime, plan_arena
from edgeconv.plan import Buffer, Plan, Space, Step, Tensor


@dataclass(frozen=True)
class Planned:
    """A plan and the bytes of its packed weights."""

    plan: Plan
    weights: bytes


@dataclass
class _Storage:
    """Memory of one tensor, under however many names."""

    space: Space
    bytes: int
    index: int = 0
    offset: int = 0
    first: int = 0
    last: int = 0


@dataclass
class _Line:
    """One kernel call before buffers have numbers; operands are variable or constant names."""

    var: str
    function: str
    inputs: list[str]
    outputs: list[str] = field(default_factory=list)
    in_place: list[str] = field(default_factory=list)


def kernel_functions(graph: Graph) -> dict[str, tvm.tirx.PrimFunc]:
    """Return the functions that the plan will call, by name."""
    called = {
        value.args[0].name_hint
        for var, value in bindings_of(graph.main)
        if op_name(value) == CALL_TIR and var.name not in graph.in_place
    }
    return {
        variable.name_hint: function.without_attr("op_pattern")
        for variable, function in graph.module.functions.items()
        if variable.name_hint in called
    }


def plan_graph(
    graph: Graph,
    kernels: Mapping[str, Kernel],
    model: onnx.ModelProto,
    alignment: int,
) -> Planned:
    """Lay out the memory of a fused graph; the plan's tolerances are still 0.

    Args:
        graph: the fused graph.
        kernels: compiled kernels by function name.
        model: the exported model, for the names of inputs and outputs.
        alignment: bytes, of which every offset is a multiple.
    """
    return _Planner(graph, kernels, alignment).plan(model)


class _Planner:
    def __init__(self, graph: Graph, kernels: Mapping[str, Kernel], alignment: int) -> None:
        self._graph = graph
        self._kernels = kernels
        self._alignment = alignment
        self._storages: dict[str, _Storage] = {}
        self._memories: dict[str, _Storage] = {}
        # Bytes from the start of its memory to a tensor that lies there in a row.
        self._starts: dict[str, int] = {}
        self._expressions: dict[str, relax.Expr] = {}
        self._lines: list[_Line] = []
        # The variable that takes a result of a kernel with several.
        self._items: dict[tuple[str, int], str] = {}
        # Which step writes a tensor, or the last part of one.
        self._completed: dict[str, int] = {}
        self._weights = bytearray()
        self._constants: dict[bytes, str] = {}

    def plan(self, model: onnx.ModelProto) -> Planned:
        main = self._graph.main
        for index, parameter in enumerate(main.params):
            self._expressions[parameter.name] = parameter
            self._storages[parameter.name] = _Storage(Space.INPUT, _bytes(parameter), index)
        bindings = bindings_of(main)
        self._items = {
            (value.tuple_value.name, value.index): var.name
            for var, value in bindings
            if isinstance(value, relax.TupleGetItem)
        }
        for var, value in bindings:
            self._visit(var, value)
        results = [output.name for output in output_tuple(main)]
        for index, name in enumerate(results):
            storage = self._storages[name]
            storage.space, storage.index = Space.OUTPUT, index
        arena = self._place()
        buffers, steps = self._emit()
        initialised = {tensor.name for tensor in model.graph.initializer}
        inputs = [info.name for info in model.graph.input if info.name not in initialised]
        outputs = [info.name for info in model.graph.output]
        plan = Plan(
            inputs=tuple(
                Tensor(name, shape_of(parameter), str(parameter.ty.dtype))
                for name, parameter in zip(inputs, main.params, strict=True)
            ),
            outputs=tuple(
                Tensor(
                    name,
                    shape_of(self._expressions[result]),
                    str(self._expressions[result].ty.dtype),
                )
                for name, result in zip(outputs, results, strict=True)
            ),
            buffers=tuple(buffers),
            steps=tuple(steps),
            arena_bytes=arena.bytes,
            arena_lower_bound=arena.lower_bound,
            scratch_bytes=max(
                (kernel.scratch_bytes for kernel in self._kernels.values()), default=0
            ),
            weights_bytes=len(self._weights),
        )
        return Planned(plan, bytes(self._weights))

    def _visit(self, var: relax.Var, value: relax.Expr) -> None:
        if isinstance(value, relax.Tuple):
            return
        if isinstance(value, (relax.TupleGetItem, relax.Var)) or op_name(value) in ALIASING:
            self._alias(var, value)
            return
        step = len(self._lines)
        if var.name in self._graph.in_place:
            self._expressions[var.name] = var
            self._storages[var.name] = self._result(var.name, step)
            last = max(self._completed[part.name] for part in value.args[1].fields)
            self._completed[var.name] = last
            if var.name not in self._graph.paddings and var.name in self._graph.values:
                self._lines[last].in_place.append(var.name)
            return
        inputs = [self._operand(argument, step) for argument in value.args[1].fields]
        line = _Line(var.name, value.args[0].name_hint, inputs)
        single = isinstance(var.ty, relax.TensorType)
        for index, ty in enumerate([var.ty] if single else var.ty.fields):
            name = var.name if single else self._item(var.name, index)
            self._expressions[name] = relax.Var(name, ty)
            # Only the first result is written over an operand.
            overwritten = None if index else self._overwritten(line)
            self._storages[name] = self._result(name, step, overwritten)
            line.outputs.append(name)
            self._completed[name] = step
        self._lines.append(line)

    def _overwritten(self, line: _Line) -> _Storage | None:
        """Return the memory of the operand that a kernel writes its result over."""
        position = self._kernels[line.function].overwritten
        return None if position is None else self._storages[line.inputs[position]]

    def _result(self, name: str, step: int, overwritten: _Storage | None = None) -> _Storage:
        """Return the memory of what exists from `step` on; parts of it may be there already."""
        tensor, frame = self._expressions[name], self._graph.frames.get(name)
        if frame is None:
            return overwritten or _Storage(Space.ARENA, _bytes(tensor), first=step, last=step)
        start = pointer_offset(frame, tensor, self._alignment)
        if start is not None:
            self._starts[name] = start
        if frame.memory not in self._memories:
            size = prod(frame.shape) * np.dtype(str(tensor.ty.dtype)).itemsize
            made = _Storage(Space.ARENA, size, first=step, last=step)
            self._memories[frame.memory] = overwritten or made
        storage = self._memories[frame.memory]
        storage.last = max(storage.last, step)
        return storage

    def _alias(self, var: relax.Var, value: relax.Expr) -> None:
        if isinstance(value, relax.TupleGetItem):
            source = self._item(value.tuple_value.name, value.index)
        elif isinstance(value, relax.Var):
            source = value.name
        else:
            source = self._operand(value.args[0], len(self._lines))
        self._expressions[var.name] = var
        if source == var.name:
            return
        self._storages[var.name] = self._storages[source]
        self._starts[var.name] = self._starts.get(source, 0)

    def _item(self, name: str, index: int) -> str:
        """Return the name of a result of a kernel with several: of what takes it, if anything."""
        return self._items.get((name, index), f"{name} item {index}")

    def _operand(self, argument: relax.Expr, step: int) -> str:
        """Return the operand's name, after noting that `step` reads it."""
        constant = constant_of(argument)
        if constant is not None:
            return self._constant(argument, np.ascontiguousarray(constant))
        storage = self._storages[argument.name]
        storage.last = max(storage.last, step)
        return str(argument.name)

    def _constant(self, expression: relax.Expr, array: np.ndarray) -> str:
        data = array.reshape(-1).view(np.uint8).data
        key = f"{array.dtype}{array.shape}".encode() + hashlib.sha256(data).digest()
        if key not in self._constants:
            name = f"constant {len(self._constants)}"
            self._constants[key] = name
            self._weights.extend(bytes(-len(self._weights) % self._alignment))
            offset = len(self._weights)
            self._storages[name] = _Storage(Space.WEIGHTS, array.nbytes, offset=offset)
            self._expressions[name] = expression
            self._weights.extend(data)
        return self._constants[key]

    def _place(self) -> Arena:
        """Give every intermediate tensor its offset."""
        storages = {
            str(index): storage
            for index, storage in enumerate(
                {id(storage): storage for storage in self._storages.values()}.values()
            )
            if storage.space is Space.ARENA
        }
        arena = plan_arena(
            {name: Lifetime(s.bytes, s.first, s.last) for name, s in storages.items()},
            self._alignment,
        )
        for name, storage in storages.items():
            storage.offset = arena.offsets[name]
        return arena

    def _emit(self) -> tuple[list[Buffer], list[Step]]:
        numbers: dict[str, int] = {}
        buffers: list[Buffer] = []

        def number(name: str) -> int:
            if name not in numbers:
                numbers[name] = len(buffers)
                buffers.append(self._buffer(name))
            return numbers[name]

        steps = []
        for index, line in enumerate(self._lines):
            kernel = self._kernels[line.function]
            step = Step(
                name=f"{index:03d}_{self._readable(line)}",
                family=self._family(line),
                kernel=kernel.symbol,
                inputs=tuple(number(name) for name in line.inputs),
                outputs=tuple(number(name) for name in line.outputs),
                in_place=tuple(number(name) for name in line.in_place),
                macs=self._graph.macs.get(line.var, 0),
                layers=self._graph.layers.get(line.var, ()),
                backend=kernel.backend,
                ndrange=kernel.ndrange,
                images=kernel.images,
                half_run=kernel.half_run,
                amplification=self._graph.amplifications.get(line.var, 1.0),
                reason=kernel.reason,
            )
            steps.append(step)
        return buffers, steps

    def _buffer(self, name: str) -> Buffer:
        storage, expression = self._storages[name], self._expressions[name]
        shape = shape_of(expression)
        value = self._graph.values.get(name) or Value("", shape)
        frame = None if name in self._starts else self._graph.frames.get(name)
        return Buffer(
            space=storage.space,
            index=storage.index,
            offset=storage.offset + self._starts.get(name, 0),
            bytes=storage.bytes if frame else _bytes(expression),
            dtype=str(expression.ty.dtype),
            shape=shape,
            logical_shape=value.shape,
            block=value.block,
            value=value.name or None,
            frame=frame.shape if frame else (),
            begin=frame.begin if frame else (),
        )

    def _family(self, line: _Line) -> str:
        family = self._graph.families.get(line.var)
        return family or re.sub(r"\d+$", "", line.function)

    def _readable(self, line: _Line) -> str:
        value = self._graph.values.get(line.var)
        return re.sub(r"\W+", "_", value.name) if value else line.var.removeprefix("v_")


def _bytes(expression: relax.Expr) -> int:
    return prod(shape_of(expression)) * np.dtype(str(expression.ty.dtype)).itemsize
