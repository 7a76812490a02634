"""Sums of pixels beside an image, over schedules that share and tile it in every way."""

from __future__ import annotations

import json
from math import prod

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import s_tir, te

from edgeconv.compiler.schedules.common import image_in_one_row
from edgeconv.compiler.schedules.cpu.overlap import overlap_last
from edgeconv.compiler.schedules.pixel_sums import SUMS, sum_pixels, sums_shape

Shape = tuple[int, int, int, int, int]


def doubled(shape: Shape) -> s_tir.Schedule:
    """Return twice an image (N, blocks, height, width, lanes)."""
    image = te.placeholder(shape, name="image")
    double = te.compute(shape, lambda *i: image[i] * 2.0, name="double")
    return s_tir.Schedule(tvm.IRModule({"main": te.create_prim_func([image, double])}))


def summed(sch: s_tir.Schedule, shape: Shape) -> tuple[int, ...]:
    """Run the schedule with sums, compare those with the image's own, and return their shape."""
    found = sums_shape(sch.mod)
    assert found is not None
    function = sch.mod["main"].with_attr(SUMS, json.dumps(found))
    module = sum_pixels(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}))
    image = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float32)
    results = [tvm.runtime.tensor(np.full(s, np.nan, np.float32)) for s in (shape, found)]
    tvm.compile(module, target="llvm")(tvm.runtime.tensor(image), *results)
    double, sums = (result.numpy() for result in results)
    np.testing.assert_array_equal(double, 2 * image)
    np.testing.assert_array_equal(sums.sum((2, 3)), 2 * image.sum((2, 3)))
    return found


SHAPES = st.tuples(
    *(st.integers(1, 3), st.integers(1, 4), st.integers(2, 20), st.integers(4, 40)),
    st.sampled_from([4, 8, 16]),
)


@settings(deadline=None, max_examples=30)
@given(
    shape=SHAPES,
    columns=st.integers(1, 12),
    rows=st.integers(1, 5),
    parallel=st.integers(0, 5),
    panel=st.booleans(),
    in_one_row=st.booleans(),
)
def test_drawn_schedules(
    shape: Shape, columns: int, rows: int, parallel: int, *, panel: bool, in_one_row: bool
) -> None:
    sch = doubled(shape)
    if in_one_row:
        image_in_one_row(sch, sch.get_sblock("double"))
        batch, block, pixel, lane = sch.get_loops("double")
        chunk, step, column = sch.split(pixel, [None, rows, columns])
        tiles = [batch, block, chunk, step]
        inner = [column, lane]
    else:
        batch, block, y, x, lane = sch.get_loops("double")
        row, second = sch.split(y, [None, rows])
        step, column = sch.split(x, [None, columns])
        tiles = [batch, block, row, step]
        inner = [second, column, lane]
    if panel:
        # Channels turn inside of the loops over pixels.
        tiles = [batch, *tiles[2:], block]
    sch.reorder(*tiles, *inner)
    for loop in inner[:-1]:
        sch.unroll(loop)
    sch.vectorize(lane)
    if parallel:
        sch.parallel(sch.fuse(*tiles[:parallel]))
    if sums_shape(sch.mod) is None:
        # Tiles of few pixels, which are not worth a sum, or of a task that is no box of them.
        assert columns < 4 or parallel > 2 or shape[3] % columns or rows > 1
        return
    found = summed(sch, shape)
    assert prod(found) * 4 <= prod(shape)


def test_tasks_take_as_many_tiles_as_make_a_row() -> None:
    shape = (1, 8, 56, 56, 16)
    sch = doubled(shape)
    *tiles, x, lane = sch.get_loops("double")
    step, column = sch.split(x, [None, 7])
    sch.unroll(column)
    sch.vectorize(lane)
    sch.parallel(sch.fuse(*tiles, step))
    assert summed(sch, shape) == (1, 8, 56, 1, 16)


def test_vectors_of_several_pixels_are_not_summed() -> None:
    sch = doubled((1, 2, 8, 8, 4))
    pixel = sch.fuse(*sch.get_loops("double"))
    sch.vectorize(sch.split(pixel, [None, 8])[1])
    assert sums_shape(sch.mod) is None


def test_tiles_that_overlap_are_not_summed() -> None:
    sch = doubled((1, 2, 8, 9, 4))
    step = sch.split(sch.get_loops("double")[3], [None, 4])[0]
    sch.vectorize(sch.get_loops("double")[-1])
    overlap_last(sch, step, 5)
    assert sums_shape(sch.mod) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_images_without_blocks_are_not_summed(axis: int) -> None:
    image = te.placeholder((4, 8, 9), name="image")
    total = te.compute((4, 8, 9), lambda *i: image[i] * 2.0, name="double")
    sch = s_tir.Schedule(tvm.IRModule({"main": te.create_prim_func([image, total])}))
    sch.parallel(sch.get_loops("double")[axis])
    assert sums_shape(sch.mod) is None
