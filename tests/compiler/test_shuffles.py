"""Loads that become shuffles, in scheduled functions."""

from __future__ import annotations

import pytest
from tvm import IRModule, s_tir, te
from tvm.s_tir import transform as s_tir_transform
from tvm.tirx import transform as tirx_transform

from edgeconv.compiler.codegen.shuffles import shuffle_loads


def lowered(index, size: int = 64) -> str:
    """Return, as text, a loop over vectors of 8 whose lane l reads element index(l) of its 8."""
    data = te.placeholder((size,), "float32", "data")
    result = te.compute((size,), lambda i: data[i // 8 * 8 + index(i % 8)], "result")
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
    return IRModule({"main": shuffle_loads(module["main"])}).script()


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
