"""`edgeconv compile`: a model to a verified artifact."""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeconv.cli import console
from edgeconv.cli.backends import count_text, precision_text, show_refused
from edgeconv.cli.memory import artifact_shortage
from edgeconv.cli.options import (
    AllowPickle,
    Arch,
    InputShape,
    Json,
    Model,
    Plugin,
    Quiet,
    TargetName,
    Verbose,
    load_plugins,
    parse_input_shapes,
    warn_of_pickle,
)
from edgeconv.cli.verify import show_report
from edgeconv.errors import DeviceError, UsageError
from edgeconv.files import refuse_unwritable
from edgeconv.precision import Precision
from edgeconv.traffic import TRAFFIC

if TYPE_CHECKING:
    from edgeconv.artifact import Artifact
    from edgeconv.verify import VerifyReport


class Emit(enum.StrEnum):
    """What is linked."""

    BUNDLE = "bundle"
    LIB = "lib"
    STATIC = "static"
    EXE = "exe"


def compile_model(
    model: Model,
    target: TargetName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.edge", help="Default: MODEL-TARGET.edge."),
    ] = None,
    input_shape: InputShape = None,
    arch: Arch = None,
    allow_pickle: AllowPickle = False,
    plugin: Plugin = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="How tensors between kernels, and weights, are stored on a GPU. mixed: in half "
            "precision, but for values that it cannot hold well."
        ),
    ] = Precision.FP32,
    half_arithmetic: Annotated[
        bool,
        typer.Option(
            "--half-arithmetic",
            help="With fp16 or mixed: convolutions and products also calculate in half precision, "
            "a few terms at a time; for GPUs with cl_khr_fp16.",
        ),
    ] = False,
    winograd: Annotated[
        bool,
        typer.Option(
            "--winograd/--no-winograd",
            help="Compute 3x3 convolutions by Winograd's algorithm where that is faster. Without: "
            "less memory for weights, and on GPUs less traffic.",
        ),
    ] = True,
    traffic: Annotated[
        float,
        typer.Option(
            min=1,
            help="On GPUs: bytes that Winograd's tiles may make kernels move through memory, as "
            "times of what convolutions have to; inf for as many as it takes to be fastest.",
        ),
    ] = TRAFFIC,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a run, unless told then.")] = 1,
    emit: Annotated[
        Emit,
        typer.Option(
            help="What to link. bundle: runner and shared library. lib, static, exe: only the "
            "shared library, the static library, the runner; also unpacked into a folder "
            "beside FILE.edge."
        ),
    ] = Emit.BUNDLE,
    dump: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every stage's result into this folder."),
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Run the golden cases where the target's programs run here.",
            show_default="verify",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compile MODEL for a target into an artifact, and verify it.

    An artifact whose outputs are wrong is not written. Where nothing here runs the target's
    programs, the artifact is written with a warning that it was not verified; after an explicit
    --verify this also exits with 5.
    """
    from edgeconv.api import compile as compile_to_artifact

    shapes = parse_input_shapes(input_shape or [])
    _refuse_output(output)
    warn_of_pickle(model, allow_pickle)
    load_plugins(plugin)
    started = time.perf_counter()
    with console.progress() as report:
        artifact = compile_to_artifact(
            model,
            target=target,
            input_shapes=shapes,
            precision=precision.value,
            half_arithmetic=half_arithmetic,
            winograd=winograd,
            traffic=traffic,
            threads=threads,
            emit=emit.value,
            dump=dump,
            progress=report,
            allow_pickle=allow_pickle,
            arch=arch,
        )
    seconds = time.perf_counter() - started

    obstacle = "--no-verify was given" if verify is False else _obstacle(artifact)
    verification = None if obstacle else artifact.verify()
    if verification is not None and not verification.passed:
        show_report(verification)
        console.emit(_summary(artifact, None, seconds, verification))
        verification.raise_if_failed()

    manifest = artifact.manifest
    path = output or Path(f"{manifest.model.name}-{manifest.target.name}.edge")
    artifact.save(path)
    folder = None if emit is Emit.BUNDLE else artifact.unpack(path.with_suffix(""))
    _show(artifact, path, folder, seconds)
    shortage = artifact_shortage(artifact)
    if shortage:
        console.warn(shortage, title="too large")
    if verification is not None:
        show_report(verification)
    console.emit(_summary(artifact, path, seconds, verification))
    if obstacle and verify is not False:
        console.warn(f"{path} was NOT verified: {obstacle}", title="not verified")
    if obstacle and verify is True:
        raise DeviceError(f"{path} was written, but --verify could not be done: {obstacle}")


def _refuse_output(output: Path | None) -> None:
    # Before minutes of compiling, not after.
    if output is not None and output.suffix != ".edge":
        raise UsageError(f"--output {output}: an artifact's name ends with .edge")
    refuse_unwritable(output.parent if output else Path())
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output}: is a folder")


def _obstacle(artifact: Artifact) -> str:
    """Return why no device here can run the artifact; empty where one can."""
    from edgeconv.devices import open_device

    if artifact.manifest.target.gpu is None and "runner" not in artifact.entries:
        return (
            f"it holds no runner (--emit {artifact.manifest.emit}); "
            "compile with --emit bundle to have the same code verified"
        )
    try:
        open_device(None, artifact.manifest.target)
    except (DeviceError, UsageError) as error:
        return f"{error} Then: edgeconv verify"
    return ""


def _show(artifact: Artifact, path: Path, folder: Path | None, seconds: float) -> None:
    manifest = artifact.manifest
    memory = manifest.memory
    listing = console.table("", "", title=f"{manifest.model.name} for {manifest.target.name}")
    listing.show_header = False
    size = path.stat().st_size
    listing.add_row("artifact", f"{path}, {console.bytes_text(size)}")
    if folder is not None:
        listing.add_row("unpacked", str(folder))
    listing.add_row("precision", precision_text(artifact))
    listing.add_row("weights", console.bytes_text(memory.weights_bytes))
    listing.add_row(
        "arena",
        f"{console.bytes_text(memory.arena_bytes)} "
        f"(lower bound {console.bytes_text(memory.arena_lower_bound_bytes)})",
    )
    listing.add_row("steps", count_text(artifact.plan.steps))
    listing.add_row("MACs", f"{manifest.model.macs:,}")
    listing.add_row("compile time", f"{seconds:.1f} s")
    console.show(listing)
    show_refused(artifact.plan.refused)


def _summary(
    artifact: Artifact, path: Path | None, seconds: float, verification: VerifyReport | None
) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "model": manifest.model,
        "target": manifest.target.name,
        "precision": manifest.precision,
        "half_arithmetic": bool(artifact.plan.half_runs),
        "file": path,
        "bytes": None if path is None else path.stat().st_size,
        "memory": manifest.memory,
        "memory_warning": artifact_shortage(artifact),
        "steps": len(artifact.plan.steps),
        "refused": artifact.plan.refused,
        "compile_seconds": seconds,
        "verified": None if verification is None else verification.passed,
        "verification": None if verification is None else verification.to_json(),
    }
