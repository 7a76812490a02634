"""Deformable convolution by this machine's OpenCL driver, where groups and borders are awkward."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_graphs import Arrays, compile_for_gpu
from test_deformable_kernels import AWKWARD, GROUPS, Case, build, check

from edgeconv.artifact import Artifact
from edgeconv.devices import open_session


def compiled(cases: list[Case]) -> tuple[Artifact, list[Arrays], Arrays]:
    drawn = [case.draw() for case in cases]
    model, inputs = build(cases, drawn)
    return compile_for_gpu(model, inputs, "mali-g610"), drawn, inputs


def test_awkward_cases() -> None:
    artifact, drawn, inputs = compiled(AWKWARD)
    check(AWKWARD, drawn, open_session(artifact, "opencl").run(inputs))


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    groups=st.sampled_from([*GROUPS, (2, 3), (3, 1), (3, 4)]),
    outputs=st.sampled_from([6, 12, 24]),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    masked=st.booleans(),
)
def test_any_groups(groups: tuple[int, int], outputs: int, **geometry) -> None:
    outputs = outputs if outputs % groups[0] == 0 else 12
    case = Case(1, 12, outputs, groups=groups[0], offset_groups=groups[1], **geometry)
    artifact, drawn, inputs = compiled([case])
    check([case], drawn, open_session(artifact, "opencl").run(inputs))


def test_columns_are_not_stored() -> None:
    """One kernel surrounds pixels by zeros; one more removes the padding of parts of results."""
    kernels = {
        Case(1, 17, 10, (7, 6)): ["pad", "deformable"],
        Case(1, 16, 16, (7, 6), groups=2, offset_groups=4): ["pad", "deformable"],
        Case(2, 9, 12, (7, 6), groups=3): ["pad", "deformable"],
        Case(1, 12, 6, (7, 6), groups=2, offset_groups=3): ["pad", "deformable", "deformable"],
        Case(1, 10, 10, (7, 6), groups=10): ["pad", "deformable"],
        Case(2, 16, 16, (5, 6), groups=16, offset_groups=2): ["pad", "deformable"],
        Case(2, 6, 6, (5, 6), groups=6, offset_groups=3): ["pad", "deformable", "deformable"],
    }
    artifact, drawn, inputs = compiled(list(kernels))
    families = [step.family for step in artifact.plan.steps]
    assert sorted(families) == sorted(family for names in kernels.values() for family in names)
    check(list(kernels), drawn, open_session(artifact, "opencl").run(inputs))


def test_columns_are_stored_where_padding_takes_more() -> None:
    case = Case(1, 8, 16, (5, 6), groups=8)
    artifact, drawn, inputs = compiled([case])
    columns = case.channels * case.taps * np.prod(case.windows)
    assert columns in {np.prod(buffer.shape) for buffer in artifact.plan.buffers}
    check([case], drawn, open_session(artifact, "opencl").run(inputs))
