"""`edgeconv inspect`: what is in a model or an artifact."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeconv.cli import console
from edgeconv.cli.backends import count_text, place_text
from edgeconv.cli.memory import artifact_shortage, model_shortage
from edgeconv.cli.options import (
    AllowPickle,
    Arch,
    InputShape,
    Json,
    Plugin,
    Quiet,
    Verbose,
    complete_model,
    complete_target,
    load_plugins,
    parse_input_shapes,
    warn_of_pickle,
)
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.artifact import Artifact
    from edgeconv.inspection import Layer


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|ARTIFACT",
            autocompletion=complete_model,
            help="A model as `edgeconv compile` takes it, or an .edge file.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            autocompletion=complete_target,
            help="For a model: the target to check it for.",
        ),
    ] = None,
    input_shape: InputShape = None,
    arch: Arch = None,
    allow_pickle: AllowPickle = False,
    plugin: Plugin = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a model's layers and what a target supports, or an artifact's contents and plan."""
    if Path(model).suffix == ".edge":
        if input_shape or arch or allow_pickle or plugin:
            raise UsageError("--input-shape, --arch, --allow-pickle and --plugin are for models")
        _inspect_artifact(Path(model), target)
    else:
        shapes = parse_input_shapes(input_shape or [])
        warn_of_pickle(model, allow_pickle)
        load_plugins(plugin)
        loading = {"input_shapes": shapes, "arch": arch, "allow_pickle": allow_pickle}
        _inspect_model(model, target, loading)


def _inspect_artifact(path: Path, target: str | None) -> None:
    from edgeconv.artifact import Artifact

    if target is not None:
        raise UsageError(f"--target {target}: {path} is an artifact, already compiled for one")
    artifact = Artifact.load(path)
    _show_manifest(artifact, path)
    _show_plan(artifact)
    shortage = _warned(artifact_shortage(artifact))
    console.emit(
        {
            "manifest": artifact.manifest.to_json(),
            "plan": artifact.plan.to_json(),
            "memory_warning": shortage,
        }
    )


def _warned(shortage: str | None) -> str | None:
    if shortage:
        console.warn(shortage, title="too large")
    return shortage


def _show_manifest(artifact: Artifact, path: Path) -> None:
    manifest, memory = artifact.manifest, artifact.manifest.memory
    facts = console.table("", "", title=str(path))
    facts.show_header = False
    rows: dict[str, Any] = {
        "model": f"{manifest.model.name}, from {manifest.model.origin}",
        "target": f"{manifest.target.name}: {manifest.target.description}",
        "made by": ", ".join(
            f"{name} {text}"
            for name, text in {"edgeconv": manifest.edgeconv, **manifest.tools}.items()
        ),
        "schema": manifest.schema,
        "linked": manifest.emit,
        "threads": manifest.threads,
        "MACs": f"{manifest.model.macs:,}",
        "parameters": f"{manifest.model.parameters:,}",
        "weights": console.bytes_text(memory.weights_bytes),
        "arena": f"{console.bytes_text(memory.arena_bytes)} "
        f"(lower bound {console.bytes_text(memory.arena_lower_bound_bytes)})",
        "scratch": f"{console.bytes_text(memory.scratch_bytes)} per thread",
        "steps": count_text(artifact.plan.steps),
        "golden cases": ", ".join(manifest.golden),
    }
    for tensor in manifest.inputs:
        rows[f"input {tensor.name}"] = f"{tensor.dtype} {list(tensor.shape)}"
    for tensor in manifest.outputs:
        rows[f"output {tensor.name}"] = (
            f"{tensor.dtype} {list(tensor.shape)}, tolerance {tensor.tolerance:.2e}"
        )
    for name, value in rows.items():
        facts.add_row(name, str(value))
    files = console.table("entry", "bytes", "SHA-256", right=("bytes",))
    for name, file in manifest.files.items():
        files.add_row(name, f"{file.bytes:,}", file.sha256[:16])
    console.show(facts, files)


def _show_plan(artifact: Artifact) -> None:
    steps = console.table(
        *("step", "family", "runs on", "output", "MACs", "layers"), right=("MACs",), title="plan"
    )
    for step in artifact.plan.steps:
        outputs = (artifact.plan.buffers[index].logical_shape for index in step.outputs)
        steps.add_row(
            step.name,
            step.family,
            place_text(step),
            _shapes(outputs),
            f"{step.macs:,}",
            ", ".join(step.layers),
        )
    console.show(steps)


def _inspect_model(model: str, target: str | None, loading: dict[str, Any]) -> None:
    from edgeconv.api import export
    from edgeconv.compiler.importer import unsupported
    from edgeconv.inspection import inspect_model, totals
    from edgeconv.target import load_target

    board = None if target is None else load_target(target)
    with console.progress() as report:
        report("export", 0, 1)
        exported = export(model, **loading)
        report("export", 1, 1)
    layers = inspect_model(exported.model, unsupported(exported.model) if board else None)
    total = totals(layers)
    _show_layers(exported.name, layers, board.name if board else None)
    console.show(
        f"{total.layers} layers, {total.macs:,} MACs, {total.parameters:,} parameters, "
        f"largest tensor {console.bytes_text(total.largest_output_bytes)}"
    )
    refused = [layer for layer in layers if layer.unsupported]
    if board:
        console.show(
            f"{len(refused)} layers are not supported on {board.name}."
            if refused
            else f"Every layer is supported on {board.name}."
        )
    shortage = _warned(model_shortage(exported.name, layers, board) if board else None)
    console.emit(
        {
            "model": exported.name,
            "target": board.name if board else None,
            "supported": not refused if board else None,
            "memory_warning": shortage,
            "totals": total,
            "layers": layers,
        }
    )


def _show_layers(name: str, layers: list[Layer], board: str | None) -> None:
    numbers = ("MACs", "parameters", "memory")
    columns = ["layer", "op", "family", "inputs", "outputs", *numbers]
    listing = console.table(*columns, *([board] if board else []), title=name, right=numbers)
    for layer in layers:
        row = [
            layer.name,
            layer.op,
            layer.family,
            _shapes(layer.inputs),
            _shapes(layer.outputs),
            f"{layer.macs:,}",
            f"{layer.parameters:,}",
            console.bytes_text(layer.output_bytes),
        ]
        listing.add_row(*row, *([layer.unsupported or "supported"] if board else []))
    console.show(listing)


def _shapes(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
