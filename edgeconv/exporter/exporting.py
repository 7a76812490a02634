"""`export`: translate, tidy, run the original, and compare ONNX Runtime with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import NumericError, UsageError
from edgeconv.exporter import eager
from edgeconv.exporter.exported import Exported, GoldenCase
from edgeconv.exporter.functions import runnable
from edgeconv.exporter.reference import reference_values, relative_error
from edgeconv.exporter.tidy import tidy
from edgeconv.frontend import Source, draw_inputs

Array = npt.NDArray[Any]

GoldenInputs = Sequence[Mapping[str, Array]] | Mapping[str, Mapping[str, Array]]
"""Golden cases, each arrays by input name; a mapping gives each case its label."""

GOLDEN_SEEDS = (1, 2)


def export(source: Source, *, golden_inputs: GoldenInputs | None = None) -> Exported:
    """Turn a source into a checked ONNX model with golden cases.

    Golden outputs are the eager PyTorch module's, fp32 on one thread, or for an `.onnx` source
    those of ONNX Runtime without optimisations. A module's training mode is left as it was.

    Args:
        source: what `load_source` returned.
        golden_inputs: arrays by input name, one mapping per case, by label or in order; by
            default two seeded cases.

    Raises:
        UsageError: golden inputs do not fit the source's inputs, or the module cannot run on
            the example inputs.
        UnsupportedModelError: there is no ONNX translation, or a shape depends on the data.
        NumericError: the ONNX model differs from the original, or the original gives NaN or
            infinity on golden inputs.
    """
    inputs = list(_golden_inputs(source, golden_inputs))
    if source.onnx is not None:
        original = runnable(source.onnx, source.origin)
        # Before anything runs, since it says which shapes cannot be.
        model = tidy(original, source.example_inputs, source.origin)
        names = [value.name for value in original.graph.output]
        outputs = [reference_values(original, case, names, source.origin) for _, case in inputs]
    else:
        with eager.Program(source) as program:
            outputs = [program.run(case) for _, case in inputs]
            model = tidy(program.to_onnx(), source.example_inputs, source.origin)
    golden = tuple(
        GoldenCase(label, case, result)
        for (label, case), result in zip(inputs, outputs, strict=True)
    )
    exported = Exported(
        source.name, source.origin, model, golden, source.preprocessing, source.labels
    )
    for case in golden:
        _check(exported, case)
    return exported


def _golden_inputs(
    source: Source, given: GoldenInputs | None
) -> Iterator[tuple[str, dict[str, Array]]]:
    if given is None:
        for seed in GOLDEN_SEEDS:
            yield f"seed {seed}", draw_inputs(source.example_inputs, seed)
        return
    if not given:
        raise UsageError("golden_inputs is empty: give at least one case, or None for seeded ones")
    cases = given if isinstance(given, Mapping) else dict(_numbered(given))
    for label, case in cases.items():
        if set(case) != set(source.example_inputs):
            raise UsageError(
                f"{source.origin}: golden {label} has the inputs {', '.join(case)}; "
                f"the model's are {', '.join(source.example_inputs)}"
            )
        for name, example in source.example_inputs.items():
            if case[name].shape != example.shape or case[name].dtype != example.dtype:
                raise UsageError(
                    f"{source.origin}: golden {label}, input {name} is {case[name].dtype} "
                    f"{case[name].shape}, the model's is {example.dtype} {example.shape}"
                )
        yield label, {name: case[name] for name in source.example_inputs}


def _numbered(cases: Sequence[Mapping[str, Array]]) -> Iterator[tuple[str, Mapping[str, Array]]]:
    for index, case in enumerate(cases):
        yield f"case {index}", case


def _check(exported: Exported, case: GoldenCase) -> None:
    origin = exported.origin
    for name, want in case.outputs.items():
        if np.issubdtype(want.dtype, np.floating) and not np.isfinite(want).all():
            raise NumericError(
                f"{origin}: output {name} of the original is not finite for the inputs "
                f"{case.label}, so nothing can be checked against it; give inputs that the "
                "network is made for"
            )
    got = reference_values(exported.model, case.inputs, list(case.outputs), origin)
    for name, want in case.outputs.items():
        limit = exported.tolerances[name]
        error = relative_error(got[name], want)
        if not error <= limit:
            raise NumericError(
                f"{origin}: output {name} of the exported ONNX model differs from the original "
                f"by {error:.3g} of its largest value for the inputs {case.label}, where "
                f"{limit:.3g} is permitted; export the network to ONNX yourself, or "
                "report it with the network"
            )
