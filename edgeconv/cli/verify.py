"""`edgeconv verify`: does the device compute the reference?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from edgeconv.cli import console
from edgeconv.cli.arrays import read_arrays
from edgeconv.cli.backends import show_refused
from edgeconv.cli.options import (
    ArtifactFile,
    DeviceName,
    Json,
    Plugin,
    Quiet,
    Verbose,
    load_plugins,
)

if TYPE_CHECKING:
    from edgeconv.metrics import Metrics
    from edgeconv.verify import Accuracy, VerifyReport

_LABELS = "labels"
_METRICS = ("max abs", "max rel", "SQNR dB", "cosine", "tolerance")


def verify(
    artifact: ArtifactFile,
    device: DeviceName = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="Arrays by input name, compared beside the golden cases."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Any number of samples by input name, compared too; with their classes under the "
            "name 'labels', for the accuracy.",
        ),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Compare every step, to find the first wrong one.")
    ] = False,
    plugin: Plugin = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run ARTIFACT on a device and compare its outputs with PyTorch's; exit 4 if they differ."""
    from edgeconv.artifact import Artifact

    load_plugins(plugin)
    arrays = None if inputs is None else read_arrays(inputs)
    samples = None if data is None else read_arrays(data)
    loaded = Artifact.load(artifact)
    own_names = {tensor.name for tensor in loaded.manifest.inputs}
    labels = None
    if samples is not None and _LABELS not in own_names:
        labels = samples.pop(_LABELS, None)
    with console.progress() as progress:
        report = loaded.verify(
            device,
            inputs=arrays,
            data=samples,
            labels=labels,
            per_layer=per_layer,
            progress=progress,
        )
    show_report(report)
    console.emit(report.to_json())
    report.raise_if_failed()


def show_report(report: VerifyReport) -> None:
    """Print the tables of a verification."""
    title = f"{report.model} for {report.target} on {report.device_description}"
    listing = console.table(
        "case", "output", *_METRICS, "top-1", "result", title=title, right=(*_METRICS, "top-1")
    )
    for result in report.outputs:
        top1 = "" if result.metrics.top1 is None else f"{result.metrics.top1:.0%}"
        listing.add_row(
            result.case,
            result.name,
            *_cells(result.metrics, result.tolerance),
            top1,
            _verdict(result.passed),
        )
    console.show(listing)
    if report.flat_outputs:
        console.show(
            f"Little was compared: {', '.join(report.flat_outputs)} is the same number everywhere, "
            "in every case. Give inputs that fit the network: edgeconv verify --inputs FILE"
        )
    if report.accuracy is not None:
        console.show(_accuracy_text(report.accuracy))
    if report.steps is not None:
        _show_steps(report)
    show_refused(report.refused)


def _show_steps(report: VerifyReport) -> None:
    listing = console.table("step", "layers", *_METRICS, "result", right=_METRICS)
    before = ""
    for step in report.steps or ():
        listing.add_row(
            # Further results of a step are told apart by what they hold.
            f"  {step.value}" if step.step == before else step.step,
            ", ".join(step.layers),
            *_cells(step.metrics, step.tolerance),
            _verdict(step.passed),
        )
        before = step.step
    console.show(listing)
    if report.not_compared:
        console.show(f"No ONNX value to compare with: {', '.join(report.not_compared)}")
    first = report.first_divergence
    if first is not None:
        console.show(f"First step to diverge: {first.step} ({', '.join(first.layers)})")


def _accuracy_text(accuracy: Accuracy) -> str:
    return (
        f"Top-1 accuracy on {accuracy.samples:,} samples: artifact {accuracy.device:.2%}, "
        f"reference {accuracy.reference:.2%}"
    )


def _cells(metrics: Metrics, tolerance: float) -> tuple[str, ...]:
    return (
        f"{metrics.max_abs:.2e}",
        f"{metrics.max_rel:.2e}",
        f"{metrics.sqnr_db:.1f}",
        f"{metrics.cosine:.7f}",
        f"{tolerance:.2e}",
    )


def _verdict(passed: bool) -> Text:
    return Text("passed", "green") if passed else Text("FAILED", "bold red")
