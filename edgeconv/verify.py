"""Proves that a device computes the reference: golden cases, given data, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.artifact import Array, Artifact
from edgeconv.batching import Progress, check_samples, run_samples
from edgeconv.classification import top1_accuracy
from edgeconv.devices import Device, SelfTest, Session, check_inputs, open_session
from edgeconv.errors import NumericError, ToolchainError, UsageError
from edgeconv.metrics import Metrics, compare
from edgeconv.plan import Buffer
from edgeconv.precision import Precision

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class OutputResult:
    """One output of one case: how far the device is from the reference.

    `self_test` is the runner's own verdict on a golden case; None for given inputs. `flat` says
    that the reference is the same number everywhere, so that little was compared.
    """

    case: str
    name: str
    metrics: Metrics
    tolerance: float
    self_test: bool | None = None
    flat: bool = False

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance, and the self-test agrees."""
        return self.metrics.within(self.tolerance) and self.self_test is not False

    @property
    def disagrees(self) -> bool:
        """Whether the runner's self-test comes to another verdict than the comparison here."""
        return self.self_test is not None and self.self_test != self.metrics.within(self.tolerance)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "case": self.case,
            "output": self.name,
            **self.metrics.to_json(),
            "tolerance": self.tolerance,
            "self_test": self.self_test,
            "flat": self.flat,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Accuracy:
    """Shares of a data set's samples whose largest score is their label's.

    Attributes:
        samples: number of samples.
        reference: share that ONNX Runtime gets right with the exported model.
        device: share that the artifact gets right on the device.
    """

    samples: int
    reference: float
    device: float


@dataclass(frozen=True)
class StepResult:
    """One result of one step, which holds the ONNX value `value`, against ONNX Runtime's.

    Joined tensors and slices that are never copied are results of the step that writes the last
    part of them.

    `overflow` says that half precision has made an infinity of a finite number; where the step
    calculates in it (`half_arithmetic`), that may have been a part of a sum.
    """

    step: str
    layers: tuple[str, ...]
    value: str
    metrics: Metrics
    tolerance: float
    overflow: bool = False
    half_arithmetic: bool = False

    @property
    def passed(self) -> bool:
        """Whether the error is within the value's tolerance."""
        return self.metrics.within(self.tolerance)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "step": self.step,
            "layers": list(self.layers),
            "value": self.value,
            **self.metrics.to_json(),
            "tolerance": self.tolerance,
            "overflow": self.overflow,
            "half_arithmetic": self.half_arithmetic,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class VerifyReport:
    """What was compared, where, and what came out.

    Attributes:
        accuracy: where labels were given.
        steps: the per-layer comparison in the plan's order; None where it was not asked for.
        not_compared: steps whose outputs hold no value of the ONNX model.
        refused: why the CPU computes a step of a GPU's network, by the step's name.
    """

    model: str
    target: str
    device: str
    device_description: str
    emulated: bool
    outputs: tuple[OutputResult, ...]
    accuracy: Accuracy | None = None
    steps: tuple[StepResult, ...] | None = None
    not_compared: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether all that was asked for was compared and is within its tolerance."""
        if not self.outputs or self.steps == ():
            return False
        return all(r.passed for r in self.outputs) and self.first_divergence is None

    @property
    def first_divergence(self) -> StepResult | None:
        """The first step past its value's tolerance; None without one, or without `steps`."""
        return next((step for step in self.steps or () if not step.passed), None)

    @property
    def flat_outputs(self) -> tuple[str, ...]:
        """The outputs that are the same number everywhere in every case that was compared."""
        flat = dict.fromkeys(result.name for result in self.outputs if result.flat)
        varied = {result.name for result in self.outputs if not result.flat}
        return tuple(name for name in flat if name not in varied)

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists."""
        first = self.first_divergence
        return {
            "model": self.model,
            "target": self.target,
            "device": self.device,
            "device_description": self.device_description,
            "emulated": self.emulated,
            "passed": self.passed,
            "outputs": [result.to_json() for result in self.outputs],
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "steps": None if self.steps is None else [step.to_json() for step in self.steps],
            "not_compared": list(self.not_compared),
            "refused": dict(self.refused),
            "first_divergence": None if first is None else first.to_json(),
        }

    def raise_if_failed(self) -> None:
        """Raise NumericError, naming what failed and the first step to diverge."""
        if self.passed:
            return
        raise NumericError(
            f"{self.model} on {self.device_description}: " + "; ".join(self._complaints())
        )

    def _complaints(self) -> Iterator[str]:
        if not self.outputs:
            yield "nothing was compared"
        if self.steps == ():
            yield "no step holds a value of the ONNX model, so no layer was compared"
        for result in self.outputs:
            if result.disagrees:
                verdict = "passed" if result.self_test else "failed"
                yield (
                    f"case {result.case!r}, output {result.name!r}: the runner's self-test "
                    f"{verdict}, the comparison here says otherwise"
                )
            if not result.metrics.within(result.tolerance):
                yield (
                    f"case {result.case!r}, output {result.name!r}: error "
                    f"{result.metrics.max_rel:.3g}, tolerance {result.tolerance:.3g}"
                )
        first = self.first_divergence
        if first is not None:
            yield (
                f"the first step to diverge is {first.step!r} (layers {', '.join(first.layers)}; "
                f"value {first.value!r}): error {first.metrics.max_rel:.3g}, "
                f"tolerance {first.tolerance:.3g}"
            )
            if first.overflow:
                what = "or a part of its sums, " if first.half_arithmetic else ""
                other = ", or without --half-arithmetic" if first.half_arithmetic else ""
                yield (
                    f"{first.value!r} {what}is beyond 65504, the largest number of half precision: "
                    f"compile with --precision mixed, or fp32{other}"
                )
        elif self.steps is None:
            yield "`edgeconv verify --per-layer` finds the first layer to diverge"


def verify(
    artifact: Artifact,
    *,
    device: str | Device | None = None,
    inputs: Mapping[str, Array] | None = None,
    data: Mapping[str, Array] | None = None,
    labels: Array | None = None,
    per_layer: bool = False,
    model: ModelProto | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Run the artifact on a device and compare what it computes with the reference.

    The golden cases always run: their outputs are compared here, and by the runner itself. For
    `inputs`, for `data` and for `per_layer`, ONNX Runtime computes the reference from `model`, by
    default the exported model that compiling left in the cache. Past the tolerance, the report
    fails; nothing is raised for it.

    Args:
        artifact: what to verify.
        device: where; None for this machine, or else the emulator.
        inputs: one more case, arrays by input name.
        data: any number of samples, arrays (N, ...) by input name; they run batch by batch, and
            all their outputs are compared as one.
        labels: the class index of every sample (N,), for the accuracy of the first output.
        per_layer: compares every step, on `inputs` or else on golden case 0.
        model: the exported model.
        progress: called with ("run", samples done, N).

    Raises:
        UsageError: arrays do not fit, there is nothing to compare, or the exported model is not in
            the cache.
        ToolchainError: packages for the reference are missing.
        DeviceError: the device fails.
    """
    if not artifact.manifest.golden and inputs is None and data is None:
        raise UsageError("the artifact has no golden cases: give inputs (`--inputs FILE.npz`).")
    if inputs is not None:
        check_inputs(inputs, artifact.manifest.inputs)
    if labels is not None and data is None:
        raise UsageError("labels without data: give the samples that they belong to.")
    if data is not None:
        check_samples(data, artifact.manifest.inputs)
    session = open_session(artifact, device)
    with _reference_packages():
        if model is None and (inputs is not None or data is not None or per_layer):
            model = exported_model(artifact)
        outputs = list(_golden_results(session))
        precision = artifact.manifest.precision
        if precision is not Precision.FP32 and not all(result.passed for result in outputs):
            # Which layer leaves the range of half precision is the first thing to know.
            per_layer, model = True, model or exported_model(artifact)
        if model is not None and inputs is not None:
            outputs += _given_results(session, inputs, model)
        accuracy: Accuracy | None = None
        if model is not None and data is not None:
            results, accuracy = _data_results(session, data, labels, model, progress)
            outputs += results
        steps: tuple[StepResult, ...] | None = None
        not_compared: tuple[str, ...] = ()
        if model is not None and per_layer:
            given = artifact.golden_cases()[0][0] if inputs is None else inputs
            steps, not_compared = _step_results(session, given, model)
    return VerifyReport(
        model=artifact.manifest.model.name,
        target=artifact.manifest.target.name,
        device=session.device.name,
        device_description=session.device.description,
        emulated=session.device.emulated,
        outputs=tuple(outputs),
        accuracy=accuracy,
        steps=steps,
        not_compared=not_compared,
        refused=artifact.plan.refused,
    )


def exported_model(artifact: Artifact) -> ModelProto:
    """Return the exported ONNX model that compiling the artifact left in this user's cache.

    Raises UsageError where it is not there, ImportError where the compiler's packages are not.
    """
    from edgeconv.exporter import recall

    recorded = artifact.manifest.model
    model = recall(recorded.onnx_sha256)
    if model is None:
        raise UsageError(
            f"the exported model of {recorded.name!r} (SHA-256 {recorded.onnx_sha256[:12]}...) is "
            "not in this machine's cache: compile the model here again, or pass the model "
            f"({recorded.origin})."
        )
    return model


def unpack_layout(array: Array, buffer: Buffer) -> Array:
    """Return the logical tensor of a buffer's memory.

    `array` has `buffer.shape`; a blocked one, (N, ceil(C/block), *spatial, block), becomes
    (N, C, *spatial) without the padding channels.
    """
    if buffer.block:
        blocks = np.moveaxis(array, -1, 2)  # (N, ceil(C/block), block, *spatial)
        n, outer, block, *spatial = blocks.shape
        array = blocks.reshape(n, outer * block, *spatial)[:, : buffer.logical_shape[1]]
    return array.reshape(buffer.logical_shape)


def _golden_results(session: Session) -> Iterator[OutputResult]:
    manifest = session.artifact.manifest
    if not manifest.golden:
        return
    verdicts = _verdicts(session.self_test())
    for case, (inputs, wanted) in enumerate(session.artifact.golden_cases()):
        got = session.run(inputs)
        for tensor in manifest.outputs:
            # A self-test that skips an output has not passed it.
            verdict = verdicts.get((case, tensor.name), False)
            yield OutputResult(
                case=manifest.golden[case],
                name=tensor.name,
                metrics=compare(got[tensor.name], wanted[tensor.name]),
                tolerance=tensor.tolerance,
                self_test=verdict,
                flat=_is_flat(wanted[tensor.name]),
            )


def _is_flat(array: Array) -> bool:
    return array.size > 1 and bool((array == array.flat[0]).all())


def _verdicts(report: SelfTest) -> dict[tuple[int, str], bool]:
    return {(c.case, output.name): output.passed for c in report.cases for output in c.outputs}


def _given_results(
    session: Session, inputs: Mapping[str, Array], model: ModelProto
) -> Iterator[OutputResult]:
    from edgeconv.exporter import reference_values

    tensors = session.artifact.manifest.outputs
    wanted = reference_values(model, inputs, [tensor.name for tensor in tensors])
    got = session.run(inputs)
    for tensor in tensors:
        want = wanted[tensor.name]
        metrics = compare(got[tensor.name], want)
        yield OutputResult(
            "given inputs", tensor.name, metrics, tensor.tolerance, flat=_is_flat(want)
        )


def _data_results(
    session: Session,
    data: Mapping[str, Array],
    labels: Array | None,
    model: ModelProto,
    progress: Progress | None,
) -> tuple[list[OutputResult], Accuracy | None]:
    from edgeconv.exporter import open_reference

    manifest = session.artifact.manifest
    reference = open_reference(model, [tensor.name for tensor in manifest.outputs])
    scores = manifest.outputs[0].name
    wanted = run_samples(reference, data, manifest.inputs)
    # Before the device's long work, since wrong labels are found here.
    right = None if labels is None else top1_accuracy(wanted[scores], labels)
    got = run_samples(session.run, data, manifest.inputs, progress=progress)
    results = [
        OutputResult("data", t.name, compare(got[t.name], wanted[t.name]), t.tolerance)
        for t in manifest.outputs
    ]
    if labels is None or right is None:
        return results, None
    return results, Accuracy(len(labels), right, top1_accuracy(got[scores], labels))


def _step_results(
    session: Session, inputs: Mapping[str, Array], model: ModelProto
) -> tuple[tuple[StepResult, ...], tuple[str, ...]]:
    from edgeconv.exporter import reference_values, value_tolerances

    plan = session.artifact.plan
    values = {
        (i, j): plan.buffers[index].value
        for i, step in enumerate(plan.steps)
        for j, index in enumerate(step.results)
    }
    precision = session.artifact.manifest.precision
    tolerances = value_tolerances(model, [inputs], precision=precision, half_runs=plan.half_runs)
    names = {value for value in values.values() if value is not None and value in tolerances}
    wanted = reference_values(model, inputs, sorted(names))
    results, skipped = [], []
    for (i, j), array in sorted(session.step_values(inputs).items()):
        step, value = plan.steps[i], values[i, j]
        if value is None or value not in wanted:
            skipped.append(step.name)
            continue
        got = unpack_layout(array, plan.buffers[step.results[j]])
        want = wanted[value]
        metrics = compare(got.astype(want.dtype), want)
        in_half = not plan.half_runs.keys().isdisjoint(step.layers)
        # Infinities of either sign sum to no number.
        lost = bool((~np.isfinite(got) & np.isfinite(want)).any())
        overflow = lost and (in_half or got.dtype == np.float16)
        limit = tolerances[value]
        results.append(StepResult(step.name, step.layers, value, metrics, limit, overflow, in_half))
    compared = {result.step for result in results}
    return tuple(results), tuple(name for name in skipped if name not in compared)


@contextmanager
def _reference_packages() -> Iterator[None]:
    """Say what to install where a package of ONNX Runtime's reference is missing."""
    try:
        yield
    except ImportError as error:
        raise ToolchainError(
            f"ONNX Runtime's reference needs a package that is missing here ({error.name}): "
            "`pip install edgeconv[compiler]`. The golden cases need nothing more than NumPy."
        ) from None
