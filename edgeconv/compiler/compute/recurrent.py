"""Recurrent layers, as one kernel that walks over time.

The products of the inputs with their weights do not depend on time, and are computed before, for
the whole sequence. At every step the kernel multiplies the hidden state by the recurrent weights,
`LANES` hidden units and all of their gates together, and finishes those units while their sums are
in registers. The formulas are those of the ONNX operators LSTM, GRU and RNN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

LANES = 8
Function = Callable[[Any], Any]

# Slots of the state. A step reads the hidden state until every unit has its next one.
_HIDDEN, _NEXT = 0, 1
_MEMORY = 2
_UPDATE, _RESET = 2, 3


class _Rows:
    """One element of each row of a buffer: `rows[i]` is buffer[*before, i, *after]."""

    def __init__(self, buffer: Any, before: Sequence[Any], after: Sequence[Any]) -> None:
        self._buffer, self._before, self._after = buffer, before, after

    def __getitem__(self, row: int) -> Any:
        return self._buffer[(*self._before, row, *self._after)]

    def __setitem__(self, row: int, value: Any) -> None:
        self._buffer[(*self._before, row, *self._after)] = value


@dataclass(frozen=True)
class _Unit:
    """One hidden unit at one step.

    Attributes:
        sums: the sum of each gate of the phase, over inputs and hidden units.
        inputs: the part of every gate that comes from the inputs and biases.
        state: the slots of the state.
        extra: the unit's further weights, as the cell has them.
    """

    sums: _Rows
    inputs: _Rows
    state: _Rows
    extra: _Rows


@dataclass(frozen=True)
class _Phase:
    """A product of a slot of the state with recurrent weights, and what follows it.

    Attributes:
        source: the slot.
        starts: for each gate, from what its sum starts.
        finish: computes a unit from its sums.
    """

    source: int
    starts: tuple[Callable[[_Unit], Any], ...]
    finish: Callable[[_Unit], None]


@dataclass(frozen=True)
class Cell:
    """What happens at a step.

    Attributes:
        phases: in order; every unit ends a phase before the next one starts.
        slots: number of slots of the state.
        results: the slots that are returned after the last step.
    """

    phases: tuple[_Phase, ...]
    slots: int
    results: tuple[int, ...]

    @property
    def gates(self) -> list[int]:
        """The number of gates of each phase."""
        return [len(phase.starts) for phase in self.phases]


def _input(gate: int) -> Callable[[_Unit], Any]:
    return lambda unit: unit.inputs[gate]


def rnn_cell(f: Function) -> Cell:
    """Return the cell of a plain recurrent layer with activation `f`."""

    def finish(unit: _Unit) -> None:
        unit.state[_NEXT] = f(unit.sums[0])

    return Cell((_Phase(_HIDDEN, (_input(0),), finish),), slots=2, results=(_HIDDEN,))


def lstm_cell(f: Function, g: Function, h: Function, *, coupled: bool, peepholes: bool) -> Cell:
    """Return the cell of an LSTM with gates i, o, f, c.

    Args:
        f: activation of the gates i, o and f.
        g: activation of the gate c.
        h: activation of the memory.
        coupled: whether f is 1 - i.
        peepholes: whether `extra` holds the weights of the memory in i, o and f.
    """

    def peep(unit: _Unit, row: int) -> Any:
        return unit.sums[row] + (unit.extra[row] * unit.state[_MEMORY] if peepholes else 0.0)

    def finish(unit: _Unit) -> None:
        sums, state = unit.sums, unit.state
        sums[0] = f(peep(unit, 0))
        sums[2] = 1.0 - sums[0] if coupled else f(peep(unit, 2))
        sums[3] = g(sums[3])
        state[_MEMORY] = sums[2] * state[_MEMORY] + sums[0] * sums[3]
        sums[1] = f(peep(unit, 1))
        state[_NEXT] = sums[1] * h(state[_MEMORY])

    phase = _Phase(_HIDDEN, tuple(_input(gate) for gate in range(4)), finish)
    return Cell((phase,), slots=3, results=(_HIDDEN, _MEMORY))


def gru_cell(f: Function, g: Function, *, linear_before_reset: bool) -> Cell:
    """Return the cell of a GRU with gates z, r, h.

    Args:
        f: activation of the gates z and r.
        g: activation of the gate h.
        linear_before_reset: whether r scales the product of the hidden state, and the bias of it
            that `extra` holds, rather than the hidden state.
    """

    def blend(unit: _Unit, update: Any, new: Any) -> None:
        unit.state[_NEXT] = (1.0 - update) * new + update * unit.state[_HIDDEN]

    def finish(unit: _Unit) -> None:
        for gate in (0, 1):
            unit.sums[gate] = f(unit.sums[gate])
        unit.sums[2] = g(unit.inputs[2] + unit.sums[1] * unit.sums[2])
        blend(unit, unit.sums[0], unit.sums[2])

    def reset(unit: _Unit) -> None:
        unit.state[_UPDATE] = f(unit.sums[0])
        unit.state[_RESET] = f(unit.sums[1]) * unit.state[_HIDDEN]

    def finish_reset(unit: _Unit) -> None:
        unit.sums[0] = g(unit.sums[0])
        blend(unit, unit.state[_UPDATE], unit.sums[0])

    gates = _input(0), _input(1)
    if linear_before_reset:
        whole = _Phase(_HIDDEN, (*gates, lambda unit: unit.extra[0]), finish)
        return Cell((whole,), slots=2, results=(_HIDDEN,))
    phases = _Phase(_HIDDEN, gates, reset), _Phase(_RESET, (_input(2),), finish_reset)
    return Cell(phases, slots=4, results=(_HIDDEN,))


def recurrence(tensors: Sequence[te.Tensor], cell: Cell, direction: str) -> list[te.Tensor]:
    """Walk over a sequence, in one or two directions.

    Args:
        tensors: in this order

            - the products of the inputs, and biases, (T, N, directions, panels, gates, LANES);
              `panels` of `LANES` units hold the hidden units, and zeros beyond the last;
            - for each of the cell's results its initial value, (directions, N, hidden);
            - for each phase the recurrent weights, (directions, panels, hidden, gates, LANES);
            - the cell's further weights, if it has any, (directions, panels, rows, LANES).
        cell: what happens at a step.
        direction: "forward", "reverse" or "bidirectional".

    Returns:
        The hidden states (T, directions, N, hidden); each of the cell's results after the last
        step, (directions, N, hidden); and the kernel's working memory.
    """
    steps, batch, directions, panels = (int(size) for size in tensors[0].shape[:4])
    last = directions, batch, int(tensors[1].shape[-1])
    work = cell.slots, directions, batch, panels * LANES
    shapes = [(steps, *last), *(last for _ in cell.results), work]
    dtype = tensors[0].dtype
    # Without buffers of our own, te declares them with offsets, which bare pointers do not have.
    old = [tirx.decl_buffer(t.shape, dtype, f"in{i}", layout=None) for i, t in enumerate(tensors)]
    new = [tirx.decl_buffer(s, dtype, f"out{i}", layout=None) for i, s in enumerate(shapes)]
    results = te.extern(
        shapes,
        list(tensors),
        _Walk(cell, direction, shapes[0]).statements,
        dtype=[dtype] * len(shapes),
        in_buffers=old,
        out_buffers=new,
        name="recurrence",
    )
    return list(results)


class _Walk:
    """The loops of `recurrence`."""

    def __init__(self, cell: Cell, direction: str, shape: Sequence[int]) -> None:
        self._cell, self._direction = cell, direction
        self._steps, self._directions, self._batch, self._hidden = shape

    def statements(self, ins: Any, outs: Any) -> Any:
        """Return the kernel's body."""
        results = self._cell.results
        self._inputs, *others = (T.buffer_proxy(buffer) for buffer in ins)
        initial, others = others[: len(results)], others[len(results) :]
        weights = others[: len(self._cell.phases)]
        # Read by cells that have further weights only.
        self._extra = others[-1]
        sequence, *finals, self._state = (T.buffer_proxy(buffer) for buffer in outs)
        loop = T.parallel if self._directions > 1 else T.serial
        with IRBuilder() as builder:
            with loop(0, self._directions) as d:
                for slot, given in zip(results, initial, strict=True):
                    self._move((given, (d,)), (self._state, (slot, d)))
                with T.serial(0, self._steps) as step:
                    time = self._time(step, d)
                    for phase, weight in zip(self._cell.phases, weights, strict=True):
                        self._phase(phase, weight, time, d)
                    new = self._state, (_NEXT, d)
                    self._move(new, (self._state, (_HIDDEN, d)))
                    self._move(new, (sequence, (time, d)))
                for slot, result in zip(results, finals, strict=True):
                    self._move((self._state, (slot, d)), (result, (d,)))
            return builder.get()

    def _time(self, step: Any, direction: Any) -> Any:
        backwards = self._steps - 1 - step
        if self._direction == "bidirectional":
            return tirx.Select(direction == 0, step, backwards)
        return backwards if self._direction == "reverse" else step

    def _move(self, source: tuple[Any, Sequence[Any]], target: tuple[Any, Sequence[Any]]) -> None:
        """Copy every hidden unit, from one buffer and first indices to another."""
        (old, old_first), (new, new_first) = source, target
        lanes = gcd(self._hidden, LANES)
        runs = self._hidden // lanes
        with T.serial(0, self._batch) as n, T.serial(0, runs) as run, T.vectorized(0, lanes) as i:
            unit = run * lanes + i
            new[(*new_first, n, unit)] = old[(*old_first, n, unit)]

    def _phase(self, phase: _Phase, weight: Any, time: Any, d: Any) -> None:
        """Compute every unit, batch inside so that a panel's weights are read once."""
        panels, gates = int(weight.shape[1]), range(len(phase.starts))
        with T.serial(0, panels) as panel, T.serial(0, self._batch) as n:
            sums = T.buffer_proxy(
                T.alloc_buffer((len(gates), LANES), weight.dtype, scope="local", layout=None)
            )

            def unit(lane: Any) -> _Unit:
                return _Unit(
                    sums=_Rows(sums, (), (lane,)),
                    inputs=_Rows(self._inputs, (time, n, d, panel), (lane,)),
                    state=_Rows(self._state, (), (d, n, panel * LANES + lane)),
                    extra=_Rows(self._extra, (d, panel), (lane,)),
                )

            for gate in gates:
                with T.vectorized(0, LANES) as lane:
                    sums[gate, lane] = phase.starts[gate](unit(lane))
            with T.serial(0, self._hidden) as k:
                for gate in gates:
                    with T.vectorized(0, LANES) as lane:
                        source = self._state[phase.source, d, n, k]
                        product = source * weight[d, panel, k, gate, lane]
                        sums[gate, lane] = sums[gate, lane] + product
            with T.vectorized(0, LANES) as lane:
                phase.finish(unit(lane))
