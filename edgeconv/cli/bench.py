"""`edgeconv bench`: how fast an artifact runs on a device."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from edgeconv.cli import console
from edgeconv.cli.options import ArtifactFile, DeviceName, Json, Quiet, Verbose


class Against(enum.StrEnum):
    """What can be timed beside the artifact."""

    ONNXRUNTIME = "onnxruntime"


def bench(
    artifact: ArtifactFile,
    device: DeviceName = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of a run. Default: as compiled.")
    ] = None,
    against: Annotated[
        Against | None, typer.Option(help="Time this too, in turns, on this machine.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Time ARTIFACT on a device, after a warm-up."""
    from edgeconv.artifact import Artifact

    report = Artifact.load(artifact).bench(
        device, threads=threads, against=None if against is None else against.value
    )
    listing = console.table(
        "",
        "median ms",
        "p90 ms",
        "min ms",
        title=f"{report.model} for {report.target} on {report.device_description}, "
        f"{report.threads} threads, {report.repeat} runs",
        right=("median ms", "p90 ms", "min ms"),
    )
    rows = [("edgeconv", report.times)]
    if report.against is not None:
        rows.append((f"{report.against.name} {report.against.version}", report.against.times))
    for name, times in rows:
        listing.add_row(
            name, f"{times.median_ms:.3f}", f"{times.p90_ms:.3f}", f"{times.min_ms:.3f}"
        )
    console.show(
        listing,
        f"Load time {report.load_ms:.1f} ms, "
        f"peak resident memory {console.bytes_text(report.peak_rss_bytes)}.",
    )
    if report.against is not None:
        console.show(f"Against {report.against.name}: {report.against.speedup:.2f} times as fast.")
    console.emit(report.to_json())
    for text in report.notes:
        console.warn(text, title="note")
