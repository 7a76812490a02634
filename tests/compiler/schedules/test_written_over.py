"""Which scheduled kernels may write their result over an operand, and which may not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm import s_tir, te
from tvm.script import tirx as T

from edgeconv.compiler.schedules.cpu.overlap import overlap_last
from edgeconv.compiler.schedules.overwriting import FREE, OVERWRITTEN, write_over_operand

Rows = T.Buffer((4, 16), "float32")


def overwritten(module: tvm.IRModule, *free: int) -> int | None:
    """Return which of the free operands the kernel writes over."""
    function = module["main"].with_attr(FREE, json.dumps(free))
    done = write_over_operand(tvm.IRModule({"main": function}))["main"]
    assert FREE not in done.attrs
    found = done.attrs.get(OVERWRITTEN)
    text = done.without_attr(OVERWRITTEN).script()
    if found is None:
        assert text == module["main"].script()
        return None
    name = module["main"].params[found].name
    assert f"{name}[" not in text.partition("func_attr")[2]
    return int(found)


def sums(columns: int, read: Callable[..., Any] = lambda i, j: (i, j)) -> s_tir.Schedule:
    """A sum of a tensor of `columns` columns, and of another that is read at `read`."""
    a = te.placeholder((4, columns), name="a")
    b = te.placeholder((4, columns), name="b")
    c = te.compute((4, columns), lambda i, j: a[i, j] + b[read(i, j)] * 2.0, name="c")
    return s_tir.Schedule(tvm.IRModule({"main": te.create_prim_func([a, b, c])}))


@given(columns=st.integers(1, 40), factor=st.integers(1, 12), fused=st.booleans())
def test_a_sum_in_tiles_is_written_over_either_operand(
    columns: int, factor: int, fused: bool
) -> None:
    sch = sums(columns)
    row, column = sch.get_loops("c")
    tile, lane = sch.split(column, [None, factor])
    if fused:
        sch.parallel(sch.fuse(row, tile))
    sch.vectorize(lane)
    for free in ((0,), (1,), (1, 0)):
        assert overwritten(sch.mod, *free) == free[0]
    assert overwritten(sch.mod) is None


@pytest.mark.parametrize(
    "read",
    [
        lambda i, j: (i, 15 - j),
        lambda i, j: (i, 0),
        lambda i, j: (3 - i, j),
        lambda i, j: (j // 4, j),
    ],
    ids=["mirrored", "one column", "another row", "by column"],
)
def test_what_is_read_elsewhere_is_not_written_over(read: Callable[..., Any]) -> None:
    sch = sums(16, read)
    assert overwritten(sch.mod, 1) is None
    assert overwritten(sch.mod, 1, 0) == 0


@pytest.mark.parametrize(("columns", "whole"), [(16, True), (18, False)])
def test_a_tile_that_overlaps_the_one_before_it_would_read_its_result(
    columns: int, whole: bool
) -> None:
    sch = sums(columns)
    tile, _ = sch.split(sch.get_loops("c")[1], [None, 8])
    overlap_last(sch, tile, columns - 8)
    assert (overwritten(sch.mod, 0) == 0) == whole


def test_a_block_inside_of_a_block_is_followed_to_its_loops() -> None:
    sch = sums(16)
    _, column = sch.get_loops("c")
    sch.blockize(sch.split(column, [None, 8])[1])
    assert overwritten(sch.mod, 0) == 0


@T.prim_func(s_tir=True)
def repeated(a: Rows, c: Rows) -> None:
    for _, i, j in T.grid(2, 4, 16):
        with T.sblock("c"):
            u, v = T.axis.remap("SS", [i, j])
            c[u, v] = a[u, v] + T.float32(1)


@T.prim_func(s_tir=True)
def overlapping(a: Rows, c: Rows) -> None:
    for i, tile, j in T.grid(4, 3, 8):
        with T.sblock("c"):
            u = T.axis.spatial(4, i)
            v = T.axis.spatial(16, tile * 4 + j)
            c[u, v] = a[u, v] + T.float32(1)


@T.prim_func(s_tir=True)
def in_two_steps(a: Rows, c: Rows) -> None:
    for i, j in T.grid(4, 16):
        with T.sblock("double"):
            u, v = T.axis.remap("SS", [i, j])
            c[u, v] = a[u, v] + a[u, v]
    for i, j in T.grid(4, 16):
        with T.sblock("c"):
            u, v = T.axis.remap("SS", [i, j])
            c[u, v] = c[u, v] + T.float32(1)


@T.prim_func(s_tir=True)
def read_afterwards(a: Rows, c: Rows) -> None:
    total = T.sblock_alloc_buffer((4,), "float32")
    for i, j in T.grid(4, 16):
        with T.sblock("c"):
            u, v = T.axis.remap("SS", [i, j])
            c[u, v] = a[u, v] + T.float32(1)
    for i in range(4):
        with T.sblock("total"):
            u = T.axis.spatial(4, i)
            total[u] = a[u, 0]


@T.prim_func(s_tir=True)
def on_condition(a: Rows, c: Rows) -> None:
    for i, j in T.grid(4, 16):
        with T.sblock("c"):
            u, v = T.axis.remap("SS", [i, j])
            if a[u, 0] > T.float32(0):
                c[u, v] = a[u, v]


@pytest.mark.parametrize(
    "function",
    [repeated, overlapping, in_two_steps, read_afterwards, on_condition],
    ids=lambda function: str(function.attrs["global_symbol"]),
)
def test_what_is_not_read_once_just_before_is_not_written_over(function: tvm.tirx.PrimFunc) -> None:
    assert overwritten(tvm.IRModule({"main": function}), 0) is None
