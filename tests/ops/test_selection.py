import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

import edgeconv
from edgeconv.errors import UsageError
from edgeconv.inspection import inspect_model
from edgeconv.ops.selective_kernel import selective_kernel


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def arguments(branches: int, *shape: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    features = [draw(*shape, seed=index) for index in range(branches)]
    return features, draw(shape[0], branches * shape[1], 1, 1, seed=branches)


class Select(torch.nn.Module):
    """Networks of 2 and of 3 branches in one graph."""

    def forward(self, x: torch.Tensor, two: torch.Tensor, three: torch.Tensor) -> torch.Tensor:
        pair = [x, x * 2]
        return selective_kernel([*pair, selective_kernel(pair, two)], three)


@settings(max_examples=20, deadline=None)
@given(
    branches=st.integers(1, 4),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    scale=st.sampled_from([1.0, 1000.0]),
)
def test_agrees_with_the_definition(branches, shape, scale) -> None:
    features, logits = arguments(branches, *shape)
    stacked = (logits * scale).numpy().reshape(shape[0], branches, shape[1], 1, 1)
    weights = np.exp(stacked - stacked.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    want = (np.stack([f.numpy() for f in features], 1) * weights).sum(1)
    np.testing.assert_allclose(selective_kernel(features, logits * scale), want, atol=1e-12)


def test_the_operator_is_registered_soundly() -> None:
    features, logits = arguments(3, 2, 2, 3, 4)
    inputs = [f.requires_grad_() for f in features], logits.requires_grad_()
    torch.library.opcheck(
        torch.ops.edgeconv.selective_kernel.default,
        inputs,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    assert torch.autograd.gradcheck(lambda *t: selective_kernel(t[:-1], t[-1]), (*features, logits))


def test_the_exported_file_keeps_it_whole_and_any_runtime_runs_it() -> None:
    module = Select()
    inputs = [draw(2, 5, 3, 4).float(), draw(2, 10, 1, 1).float(), draw(2, 15, 1, 1).float()]
    exported = edgeconv.export(module, inputs)
    ops = [layer.op for layer in inspect_model(exported.model)]
    assert ops == ["Mul", "edgeconv.SelectiveKernel", "edgeconv.SelectiveKernel"]
    # ONNX Runtime, with its optimisations and nothing of ours, from the file's bytes alone.
    session = onnxruntime.InferenceSession(
        exported.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs, strict=True)}
    np.testing.assert_allclose(session.run(None, feeds)[0], module(*inputs), atol=1e-6, rtol=1e-6)


def test_two_branches_need_nothing_new_of_a_runtime() -> None:
    """ONNX's reference knows no overloads, which are of IR version 10."""

    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return selective_kernel([x, y], z)

    inputs = [draw(1, 3, 2, 2).float(), draw(1, 3, 2, 2, seed=1).float(), draw(1, 6, 1, 1).float()]
    exported = edgeconv.export(Two(), inputs)
    feeds = dict(zip("xyz", (t.numpy() for t in inputs), strict=True))
    got = ReferenceEvaluator(exported.model).run(None, feeds)[0]
    np.testing.assert_allclose(got, Two()(*inputs), atol=1e-6)


def test_a_file_with_the_function_is_compiled_by_the_converter(tmp_path) -> None:
    """And a changed body is not: then the converter would compute something else."""
    inputs = [draw(1, 16, 5, 4).float(), draw(1, 32, 1, 1).float(), draw(1, 48, 1, 1).float()]
    exported = edgeconv.export(Select(), inputs)
    path = tmp_path / "select.onnx"
    onnx.save(exported.model, path)
    artifact = edgeconv.compile(path)
    report = artifact.verify(per_layer=True)
    report.raise_if_failed()
    assert [step.family for step in artifact.plan.steps].count("selective") > 2
    assert {"output"} < {step.value for step in report.steps}

    for function in exported.model.functions:
        function.node[-1].op_type = "Max"
    onnx.save(exported.model, path)
    with pytest.raises(edgeconv.errors.NumericError, match="differs from the original"):
        edgeconv.export(path)


def test_nothing_but_the_result_is_written() -> None:
    """Softmax and slices work on a number per channel; one kernel makes both selections."""
    inputs = [draw(1, 16, 5, 4).float(), draw(1, 32, 1, 1).float(), draw(1, 48, 1, 1).float()]
    plan = edgeconv.compile(Select(), inputs).plan
    written = [s for s in plan.steps if plan.buffers[s.outputs[0]].logical_shape == (1, 16, 5, 4)]
    assert [step.layers for step in written] == [
        ("mul",),  # read twice
        ("selectivekernel.selectivekernel_2", "selectivekernel.selectivekernel"),
    ]


@pytest.mark.parametrize(
    ("features", "logits"),
    [
        ([(1, 4, 3, 3), (1, 4, 3, 2)], (1, 8, 1, 1)),
        ([(1, 4, 3, 3)] * 2, (1, 4, 1, 1)),
        ([(1, 4, 3, 3)] * 2, (1, 8)),
        ([], (1, 0, 1, 1)),
    ],
)
def test_refuses_shapes_that_do_not_fit(features, logits) -> None:
    with pytest.raises(UsageError):
        selective_kernel([torch.zeros(shape) for shape in features], torch.zeros(logits))
