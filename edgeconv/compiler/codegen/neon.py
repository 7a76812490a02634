"""Products of tiles on AArch64, in assembly.

LLVM loads weights in pairs and recomputes addresses; it cannot use the loads of up to four
registers that also advance the pointer, because it spills around them. So the innermost loop is
written here, register by register: accumulators first, then the inputs of all columns, then as many
weights as fit. An iteration takes a block of four input channels, or, of a channel that is a plane
of its own, a row of the kernel. Everything around it stays TIR.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import sym, tirx

from edgeconv.compiler.schedules.cpu.accumulate import STREAM, TILE
from edgeconv.compiler.schedules.machine import FLOAT_BYTES

REGISTERS = 32
LANES = 4
VECTOR_BYTES = 16
# Registers that one instruction loads, and how far from its pointer it can load one.
MAX_LOADED = 4
REACH_BYTES = 65520
# How far where the distance is no multiple of a vector, in both directions.
NEAR_BYTES = 256
# Blocks of channels in the loop's body.
UNROLL = 8
_PREFETCH_BYTES = 4096


@dataclass(frozen=True)
class Tile:
    """A loop whose every iteration, a block, adds products to a tile; offsets are in floats.

    Attributes:
        blocks: iterations.
        steps: products of a block that are added to each sum, of inputs that stand side by side.
        inputs: where the first input of each column is.
        stride: from a block's inputs to the next's.
        vectors: vectors of weights, and of sums, of each column.
        sums: where the accumulators are, columns outermost.
        streams: whether to ask for weights ahead.
    """

    blocks: int
    steps: int
    inputs: tuple[int, ...]
    stride: int
    vectors: int
    sums: tuple[int, ...]
    streams: bool

    @cached_property
    def loads(self) -> tuple[int, ...]:
        """Offsets of the vectors of inputs; none reaches beyond the last input.

        Those between, of columns that a stride passes over, come along where registers are free:
        so one instruction loads four.
        """
        last = max(self.inputs) + self.steps - LANES
        reads = [place + step for place in self.inputs for step in range(self.steps)]
        vectors = {min(at // LANES * LANES, last) for at in reads}
        span = {min(at, last) for at in range(0, last + LANES, LANES)}
        spare = REGISTERS - MAX_LOADED - len(self.sums)
        return tuple(sorted(span if len(span) <= spare else vectors))

    def lane(self, column: int, step: int) -> tuple[int, int]:
        """Return in which vector of inputs, and in which of its lanes, an input is."""
        at = self.inputs[column] + step
        vector = bisect_right(self.loads, at) - 1
        return vector, at - self.loads[vector]

    @property
    def free(self) -> int:
        """Registers left for weights."""
        return REGISTERS - len(self.sums) - len(self.loads)

    def function(self, name: str) -> str:
        """Return LLVM IR of `void name(float *sums, const float *inputs, const float *weights)`."""
        count = len(self.sums)
        places = [
            f"  %p{i} = getelementptr float, ptr %sums, i64 {place}"
            for i, place in enumerate(self.sums)
        ]
        loads = [f"  %a{i} = load <4 x float>, ptr %p{i}, align 4" for i in range(count)]
        types = ", ".join(["<4 x float>"] * count + ["ptr", "ptr", "i64"])
        written = [f"={{v{i}}}" for i in range(count)] + ["=&r"] * 3
        read = [str(i) for i in range(count + 3)] + ["r"]
        clobbered = [f"~{{v{i}}}" for i in range(count, REGISTERS)] + ["~{cc}"]
        constraints = ",".join([*written, *read, *clobbered])
        arguments = [f"<4 x float> %a{i}" for i in range(count)]
        arguments += ["ptr %inputs", "ptr %weights", f"i64 {self.blocks // UNROLL}"]
        arguments += [f"i64 {(self.stride - self.passed) * FLOAT_BYTES}"]
        text = "\\0A".join(self._assembly(count))  # a line break, as LLVM escapes it
        call = f'  %r = call {{{types}}} asm "{text}", "{constraints}"({", ".join(arguments)})'
        stores = [
            f"  %s{i} = extractvalue {{{types}}} %r, {i}\n"
            f"  store <4 x float> %s{i}, ptr %p{i}, align 4"
            for i in range(count)
        ]
        head = f"define void @{name}(ptr %sums, ptr %inputs, ptr %weights) {{"
        lines = [head, *places, *loads, f"{call} memory(read)", *stores, "  ret void", "}"]
        return "\n".join(lines)

    @property
    def in_order(self) -> int:
        """How many vectors of inputs are loaded together: from the first, those side by side."""
        count = sum(place == LANES * i for i, place in enumerate(self.loads))
        return count if count > 1 or len(self.loads) == 1 else 0

    @property
    def passed(self) -> int:
        """Where the pointer is before it is moved to the next block's inputs."""
        if self.in_order < len(self.loads):
            return LANES * self.in_order
        return (len(self.loads) - 1) // MAX_LOADED * MAX_LOADED * LANES

    @property
    def reachable(self) -> bool:
        """Whether loads reach all inputs that are not in order."""
        offsets = [FLOAT_BYTES * (place - self.passed) for place in self.loads[self.in_order :]]
        return all(
            -NEAR_BYTES <= at < NEAR_BYTES or (at % VECTOR_BYTES == 0 and 0 <= at <= REACH_BYTES)
            for at in offsets
        )

    def _assembly(self, count: int) -> list[str]:
        """Return the instructions; operands are numbered as the constraints are in order."""
        inputs, weights, left = (f"${count + i}" for i in range(3))
        advance = f"${2 * (count + 3)}"
        block = [*self._load_inputs(inputs, advance), *self._multiply(weights)]
        whole, rest = divmod(self.blocks, UNROLL)
        lines = block * (rest if whole > 1 else self.blocks)
        if whole > 1:
            ahead = [f"prfm pldl1keep, [{weights}, #{_PREFETCH_BYTES}]"] if self.streams else []
            lines += ["1:", *ahead, *block * UNROLL, f"subs {left}, {left}, #1", "b.ne 1b"]
        return lines

    def _load_inputs(self, pointer: str, advance: str) -> list[str]:
        """Return loads of a block's inputs, after which the pointer is at the next block's."""
        first, count = len(self.sums), len(self.loads)
        lines = []
        for start in range(0, self.in_order, MAX_LOADED):
            size = min(MAX_LOADED, self.in_order - start)
            by = f"#{VECTOR_BYTES * size}" if start + size < count else advance
            lines.append(f"ld1 {_registers(first + start, size)}, [{pointer}], {by}")
        for i in range(self.in_order, count):
            offset = FLOAT_BYTES * (self.loads[i] - self.passed)
            load = "ldr" if offset >= 0 and offset % VECTOR_BYTES == 0 else "ldur"
            lines.append(f"{load} q{first + i}, [{pointer}, #{offset}]")
        return lines if self.in_order == count else [*lines, f"add {pointer}, {pointer}, {advance}"]

    def _multiply(self, pointer: str) -> list[str]:
        """Return the products of one block: weights in turn, each with all columns."""
        first_input = len(self.sums)
        first_weight = first_input + len(self.loads)
        total, size = self.steps * self.vectors, min(MAX_LOADED, self.free)
        lines = []
        for start in range(0, total, size):
            loaded = min(size, total - start)
            registers = _registers(first_weight, loaded)
            lines.append(f"ld1 {registers}, [{pointer}], #{VECTOR_BYTES * loaded}")
            for i, column in product(range(loaded), range(len(self.inputs))):
                step, vector = divmod(start + i, self.vectors)
                load, lane = self.lane(column, step)
                target = column * self.vectors + vector
                source = f"v{first_weight + i}.4s, v{first_input + load}.s[{lane}]"
                lines.append(f"fmla v{target}.4s, {source}")
        return lines


def _registers(first: int, count: int) -> str:
    """Return a list of registers, as it stands in assembly within LLVM's text."""
    return "{ " + ", ".join(f"v{first + i}.4s" for i in range(count)) + " }"


def multiply_tiles(function: tirx.PrimFunc) -> tuple[tirx.PrimFunc, str]:
    """Return the flattened function with calls for its products of tiles, and their LLVM IR."""
    names: dict[Tile, str] = {}

    def replace(loop: Any) -> Any:
        found = _read(loop) if TILE in loop.annotations else None
        if found is None:
            return loop
        tile, operands = found
        name = names.setdefault(tile, f"tile_{len(names)}")
        return tirx.Evaluate(tirx.call_extern("void", name, *map(tirx.address_of, operands)))

    changed = tvm_ffi.structural_map(function, [(tirx.For, replace)])
    return changed, "\n".join(tile.function(name) for tile, name in names.items())


def _read(loop: Any) -> tuple[Tile, list[Any]] | None:
    """Return what `loop` computes and the first elements of sums, inputs and weights.

    None where it is no product of a tile as they are computed here.
    """
    loops = _nest(loop)
    accesses = _operands(loops[-1].body)
    if accesses is None:
        return None
    variables = [inner.loop_var for inner in loops]
    # Of each access the strides by loop, and where it starts.
    linear = [list(sym.detect_linear_equation(load.indices[0], variables)) for load in accesses]
    if not all(linear):
        return None
    tile = _tile(loops, [strides for *strides, _ in linear], streams=STREAM in loop.annotations)
    starts = [
        tirx.BufferLoad(load.source, [start])
        for load, (*_, start) in zip(accesses, linear, strict=True)
    ]
    return None if tile is None else (tile, starts)


def _nest(loop: Any) -> list[Any]:
    loops = [loop]
    while isinstance(loops[-1].body, tirx.For):
        loops.append(loops[-1].body)
    return loops


def _operands(store: Any) -> tuple[Any, Any, Any] | None:
    """Return sums, inputs and weights of `sums[] = sums[] + inputs[] * weights[]`, as loads."""
    value = store.value if isinstance(store, tirx.BufferStore) else None
    if not isinstance(value, tirx.Add) or not isinstance(value.b, tirx.Mul):
        return None
    loads = (value.a, value.b.a, value.b.b)
    plain = all(isinstance(load, tvm.ir.TensorLoad) for load in loads)
    return loads if plain and all(str(load.source.dtype) == "float32" for load in loads) else None


def _tile(loops: Sequence[Any], strides: Sequence[Sequence[Any]], *, streams: bool) -> Tile | None:
    """Return the tile of loops over blocks, steps, columns (of rows), vectors and lanes."""
    if not all(isinstance(stride, tirx.IntImm) for steps in strides for stride in steps):
        return None
    axes = [
        (int(loop.extent), *map(int, steps)) for loop, *steps in zip(loops, *strides, strict=True)
    ]
    (blocks, still, stride, per_block), *inner = axes
    reduced = [axis for axis in inner if axis[1] == 0]
    columns = [axis for axis in inner if axis[1] and axis[3] == 0]
    vectors = [axis for axis in inner if axis[1] and axis[3]]
    if still or len(reduced) != 1 or inner[-1] != (LANES, 1, 0, 1):
        return None
    count = prod(extent for extent, *_ in vectors) // LANES
    steps = reduced[0][0]
    tile = Tile(
        blocks=blocks,
        steps=steps,
        inputs=_places(columns, 2),
        stride=stride,
        vectors=count,
        sums=tuple(a + b for a in _places(columns, 1) for b in _places(vectors[:-1], 1)),
        streams=streams,
    )
    in_order = (
        reduced[0] == (steps, 0, 1, LANES * count)
        and per_block == steps * LANES * count
        and _places(vectors, 3) == tuple(range(LANES * count))
    )
    fits = min(tile.loads) >= 0 and tile.reachable and tile.free > 0
    return tile if in_order and fits else None


def _places(axes: Sequence[tuple[int, ...]], stride: int) -> tuple[int, ...]:
    """Return the offsets that nested loops reach, where `stride` is the place of their strides."""
    return tuple(
        sum(i * axis[stride] for i, axis in zip(index, axes, strict=True))
        for index in product(*(range(axis[0]) for axis in axes))
    )
