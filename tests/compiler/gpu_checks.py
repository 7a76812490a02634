"""What tests of a GPU's kernels have in common."""

import json
import subprocess
from collections.abc import Sequence
from typing import Protocol

import onnx
from onnx_graphs import Arrays, assert_close, compile_for_gpu
from opencl_programs import oclgrind

from edgeconv.artifact import Artifact
from edgeconv.compiler.twin import twin
from edgeconv.devices import open_session
from edgeconv.plan import Backend


class Case(Protocol):
    """What output `y0`, `y1` ... of a model computes: sums of `length` products."""

    @property
    def length(self) -> int: ...


def check_cases(
    built: tuple[onnx.ModelProto, Arrays, Arrays], cases: Sequence[Case], target: str
) -> Artifact:
    """Compare a model of these cases, all on the GPU of `target`, by this machine's driver.

    `built` is the model, its inputs and the outputs wanted.
    """
    model, inputs, want = built
    artifact = compile_for_gpu(model, inputs, target)
    assert all(step.backend is Backend.OPENCL for step in artifact.plan.steps)
    got = open_session(artifact, "opencl").run(inputs)
    for i, case in enumerate(cases):
        assert_close(got[f"y{i}"], want[f"y{i}"], case.length, str(case))
    return artifact


def find_no_fault(artifact: Artifact, *, separate: bool = True) -> None:
    """Run the self-test under oclgrind (see `opencl_programs.oclgrind`), which may say nothing."""
    done = subprocess.run(
        [twin(artifact).unpack() / "runner", "--self-test"],
        env=oclgrind(separate=separate),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["self_test"]["passed"]
