"""`edgeconv profile`: where the time of a run goes, step by step."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeconv.cli import console
from edgeconv.cli.backends import place_text
from edgeconv.cli.options import ArtifactFile, DeviceName, Json, Quiet, Verbose


def profile(
    artifact: ArtifactFile,
    device: DeviceName = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of a run. Default: as compiled.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Time every step of ARTIFACT on a device, after a warm-up."""
    from edgeconv.artifact import Artifact
    from edgeconv.profiling import profile as measure

    loaded = Artifact.load(artifact)
    report = measure(loaded, device=device, threads=threads)
    numbers = ("median ms", "share", "GMAC/s")
    listing = console.table(
        *("step", "family", "runs on", *numbers),
        title=f"{report.model} for {report.target} on {report.device_description}, "
        f"{report.threads} threads, {report.repeat} runs",
        right=numbers,
    )
    total = sum(step.median_ms for step in report.steps)
    for timed, step in zip(report.steps, loaded.plan.steps, strict=True):
        share = timed.median_ms / total if total else 0.0
        rate = f"{timed.macs / timed.median_ms / 1e6:.2f}" if timed.macs and timed.median_ms else ""
        listing.add_row(
            step.name,
            step.family,
            place_text(step),
            f"{timed.median_ms:.3f}",
            f"{share:.1%}",
            rate,
        )
    console.show(
        listing, f"Steps together {total:.3f} ms, a whole run {report.median_ms:.3f} ms (medians)."
    )
    console.emit(report)
    for text in report.notes:
        console.warn(text, title="note")
