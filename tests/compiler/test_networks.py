"""Whole networks from the zoo: compiled, run on every kind of target, compared with PyTorch."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tvm import te, tirx

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.compiler import codegen, pipeline
from edgeconv.errors import NumericError
from edgeconv.imaging import demo_photographs, load_batch
from edgeconv.plan import Buffer, Space
from edgeconv.zoo import find, list_models

TINY = [f"zoo:{name}/tiny" for name, model in list_models().items() if "tiny" in model.variants]


@cache
def artifact(model: str, target: str) -> Artifact:
    return edgeconv.compile(model, target=target)


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2", "mali-g610"])
@pytest.mark.parametrize("model", TINY)
def test_tiny_network_equals_pytorch(model: str, target: str) -> None:
    report = artifact(model, target).verify()
    report.raise_if_failed()
    assert len(report.outputs) == len(artifact(model, target).manifest.golden)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("model", TINY)
def test_threads_do_not_change_the_result(model: str, threads: int) -> None:
    from edgeconv.runtime import Model

    compiled = artifact(model, "host")
    inputs, _ = compiled.golden_cases()[0]
    folder = compiled.unpack()
    with Model(folder) as one, Model(folder, threads=threads) as several:
        want, got = one.run(inputs), several.run(inputs)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array)


def test_efficientnet_lite0_on_rasp4_names_the_photograph() -> None:
    _, variant = find("efficientnet_lite0")
    batch = load_batch([demo_photographs()["chelsea"]], variant.preprocessing)
    compiled = edgeconv.compile(
        "zoo:efficientnet_lite0", target="rasp4", golden_inputs=[{"image": batch}]
    )
    compiled.verify().raise_if_failed()
    (logits,) = compiled.golden_cases()[0][1].values()
    assert compiled.labels[int(logits.argmax())].startswith("Egyptian cat")


@pytest.mark.parametrize("model", TINY)
def test_equal_inputs_give_equal_bytes(model: str) -> None:
    again = edgeconv.compile(model, target="host")
    assert again.entries == artifact(model, "host").entries
    assert again.manifest == artifact(model, "host").manifest


@pytest.mark.parametrize("target", ["rasp4", "mali-g610"])
@pytest.mark.parametrize("model", TINY)
def test_every_operand_is_what_was_last_written_there(model: str, target: str) -> None:
    plan = artifact(model, target).plan

    def in_arena(indices: tuple[int, ...]) -> list[Buffer]:
        found = (plan.buffers[index] for index in indices)
        return [buffer for buffer in found if buffer.space is Space.ARENA]

    def span(buffer: Buffer) -> tuple[int, int]:
        return (buffer.offset, buffer.offset + buffer.bytes)

    def meet(one: Buffer, other: Buffer) -> bool:
        """Whether two buffers share a byte."""
        if one.frame and (one.offset, one.frame) == (other.offset, other.frame):
            return all(
                a.start < b.stop and b.start < a.stop
                for a, b in zip(one.box[:-1], other.box[:-1], strict=True)
            )
        return span(one)[0] < span(other)[1] and span(other)[0] < span(one)[1]

    def place(buffer: Buffer) -> tuple[object, ...]:
        return (*span(buffer), buffer.memory_shape, buffer.box)

    written: list[Buffer] = []
    for number, step in enumerate(plan.steps):
        later = {index for other in plan.steps[number + 1 :] for index in other.inputs}
        operands, results = in_arena(step.inputs), in_arena(step.outputs)
        for operand in operands:
            last = next(buffer for buffer in reversed(written) if meet(buffer, operand))
            # A part of the operand, where that is joined, or a whole that it is a part of.
            low, high = sorted((span(last), span(operand)), key=lambda s: s[1] - s[0])
            assert high[0] <= low[0] < low[1] <= high[1], f"{step.name}: overwritten operand"
        for result in results:
            assert span(result)[1] <= plan.arena_bytes
            met = {i for i in step.inputs if plan.buffers[i] in operands}
            met = {i for i in met if meet(result, plan.buffers[i])}
            # On CPUs one operand, which has the same place, and is read here for the last time.
            assert len(met) <= (target == "rasp4"), f"{step.name}: writes over its operands"
            assert met.isdisjoint(later), f"{step.name}: writes over what is read later"
            assert all(place(plan.buffers[i]) == place(result) for i in met), step.name
            written.append(result)
    assert written
    assert plan.arena_lower_bound <= plan.arena_bytes <= 1.1 * plan.arena_lower_bound


def test_every_layer_of_the_model_is_in_the_plan() -> None:
    compiled = artifact("zoo:mobilenet_v2/tiny", "host")
    layers = [layer for step in compiled.plan.steps for layer in step.layers]
    assert len([layer for layer in layers if "depthwise" in layer]) > 3
    assert sum(step.macs for step in compiled.plan.steps) == compiled.manifest.model.macs


@pytest.mark.parametrize("model", ["mobilenet_v2", "resnet18"])
def test_per_layer_agrees_everywhere(model: str) -> None:
    report = artifact(f"zoo:{model}/tiny", "host").verify(per_layer=True)
    report.raise_if_failed()
    assert report.first_divergence is None
    assert len(report.steps) > 10


def test_planted_wrong_kernel_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    good = artifact("zoo:mobilenet_v2/tiny", "host")
    victim = [step for step in good.plan.steps if step.family == "conv"][3]

    def planting(functions, target, **options):
        compiled = codegen.compile_kernels(functions, target)
        (name, *_) = [n for n, kernel in compiled.items() if kernel.symbol == victim.kernel]
        wrong = codegen.compile_kernels({name: constant_result(functions[name])}, target)
        return {**compiled, **wrong}

    monkeypatch.setattr(pipeline, "compile_kernels", planting)
    report = edgeconv.compile("zoo:mobilenet_v2/tiny", target="host").verify(per_layer=True)
    assert not report.passed
    assert report.first_divergence is not None
    assert report.first_divergence.step == victim.name
    with pytest.raises(NumericError, match=victim.name):
        report.raise_if_failed()


def constant_result(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a function of the same parameters that fills its result with 0.5."""
    *operands, result = (
        te.placeholder(tuple(int(size) for size in p.shape), str(p.dtype), p.name)
        for p in function.params
    )
    filled = te.compute(result.shape, lambda *i: tirx.const(0.5, "float32"), name="filled")
    return te.create_prim_func([*operands, filled])
