"""Loads that become shuffles, in scheduled functions."""

from __future__ import annotations

import pytest
import tvm_ffi
from tvm import IRModule, s_tir, sym, te, tirx
from tvm.s_tir import transform as s_tir_transform
from tvm.tirx import transform as tirx_transform

from edgeconv.compiler.codegen.shuffles import shuffle_loads


def lowered(index, size: int = 64) -> str:
    """Return, as text, a loop over vectors of 8 whose lane l reads element index(l) of its 8."""
    data = te.placeholder((size,), "float32", "data")
    return vectorised(data, lambda i: data[i // 8 * 8 + index(i % 8)], size).script()


def vectorised(data: te.Tensor, element, size: int) -> IRModule:
    """Return a loop that computes `element` of each index in vectors of 8."""
    result = te.compute((size,), element, "result")
    sch = s_tir.Schedule(te.create_prim_func([data, result]))
    _, lane = sch.split(sch.get_loops(sch.get_sblock("result"))[0], [None, 8])
    sch.vectorize(lane)
    module = sch.mod
    for step in (
        s_tir_transform.ConvertBlocksToOpaque(),
        s_tir_transform.LowerOpaqueBlock(),
        tirx_transform.FlattenBuffer(),
        tirx_transform.VectorizeLoop(True),
        tirx_transform.StmtSimplify(),
    ):
        module = step(module)
    return IRModule({"main": shuffle_loads(module["main"])})


@pytest.mark.parametrize("group", [2, 4])
def test_lanes_of_a_group_share_one_load(group: int) -> None:
    text = lowered(lambda lane: lane // group * group + 1)
    assert "T.Shuffle(" in text
    order = [lane // group * group + 1 for lane in range(8)]
    assert f"{order}" in text


def test_lanes_beyond_the_vector_stay_as_they_are() -> None:
    assert "T.Shuffle(" not in lowered(lambda lane: lane // 2 * 4)


def test_contiguous_loads_stay_as_they_are() -> None:
    assert "T.Shuffle(" not in lowered(lambda lane: lane)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_lanes_apart_are_loaded_with_what_lies_between(stride: int) -> None:
    data = te.placeholder((63 * stride + 1,), "float32", "data")
    shuffles: list[tirx.Shuffle] = []
    function = vectorised(data, lambda i: data[i * stride], 64)["main"]
    tvm_ffi.structural_walk(function, [(tirx.Shuffle, shuffles.append)])
    (shuffle,) = shuffles
    first = shuffle.vectors[0].indices[0].base
    distance = sym.Analyzer().simplify
    starts = [int(distance(load.indices[0].base - first)) for load in shuffle.vectors]
    chosen = [int(place) for place in shuffle.indices]
    assert len(starts) == stride
    # Nothing beyond the last lane is touched.
    assert max(starts) + 8 == 7 * stride + 1
    assert [starts[i // 8] + i % 8 for i in chosen] == [lane * stride for lane in range(8)]


def test_lanes_far_apart_are_loaded_one_by_one() -> None:
    data = te.placeholder((63 * 5 + 1,), "float32", "data")
    assert "T.Shuffle(" not in vectorised(data, lambda i: data[i * 5], 64).script()


@pytest.mark.parametrize("factor", [2, 4])
def test_repeated_elements_are_loaded_once(factor: int) -> None:
    data = te.placeholder((64 // factor,), "float32", "data")
    shuffles: list[tirx.Shuffle] = []
    function = vectorised(data, lambda i: data[i // factor], 64)["main"]
    tvm_ffi.structural_walk(function, [(tirx.Shuffle, shuffles.append)])
    (shuffle,) = shuffles
    loads = {int(load.indices[0].lanes) for load in shuffle.vectors}
    assert loads == {8 // factor}
    assert [int(place) for place in shuffle.indices] == [lane // factor for lane in range(8)]


def test_an_element_of_all_lanes_is_one_load() -> None:
    data = te.placeholder((8,), "float32", "data")
    assert "T.Shuffle(" not in vectorised(data, lambda i: data[i // 8], 64).script()
