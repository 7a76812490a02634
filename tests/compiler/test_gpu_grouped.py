"""Grouped convolutions of few channels a group, whose panels of blocks a GPU computes."""

from __future__ import annotations

import pytest
from gpu_checks import check_cases, find_no_fault
from hypothesis import given, settings
from hypothesis import strategies as st
from test_convolution import Case, build

from edgeconv.artifact import OPENCL_SOURCES


def grouped(groups: int, ins: int, outs: int, **options: object) -> Case:
    values = {
        "batch": 1,
        "size": (5, 7),
        "kernel": (3, 3),
        "stride": (1, 1),
        "dilation": (1, 1),
        "pads": (1, 1, 1, 1),
        "bias": True,
        "activation": None,
        **options,
    }
    return Case(
        channels=groups * ins,
        out_channels=groups * outs,
        groups=groups,
        **values,  # type: ignore[arg-type]  # as Case has them
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * rank))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * rank))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 2 * rank))
    side = st.integers(1, 3 if rank == 3 else 12)
    return grouped(
        draw(st.integers(2, 9)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
        batch=draw(st.integers(1, 2)),
        kernel=kernel,
        stride=draw(st.tuples(*[st.integers(1, 2)] * rank)),
        dilation=dilation,
        pads=pads,
        size=tuple(draw(side) + d * (k - 1) for k, d in zip(kernel, dilation, strict=True)),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from([None, "Relu"])),
    )


@pytest.mark.parametrize("target", ["mali-g610", "videocore-7"])
@settings(max_examples=2, deadline=None)
@given(drawn=st.lists(cases(), min_size=12, max_size=12))
def test_any_groups(drawn: list[Case], target: str) -> None:
    check_cases(build(drawn), drawn, target)


def test_lanes_are_chosen_at_compile_time_and_kernels_stay_within_their_tensors() -> None:
    drawn = [grouped(8, 2, 2), grouped(5, 3, 3), grouped(3, 5, 5), grouped(4, 2, 4)]
    artifact = check_cases(build(drawn), drawn, "mali-g610")
    source = artifact.entries[OPENCL_SOURCES].decode()
    assert "grouped_local" in source
    assert "grouped_lanes" not in source
    find_no_fault(artifact)
