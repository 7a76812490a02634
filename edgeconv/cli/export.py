"""`edgeconv export`: a model to checked ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeconv.cli import console
from edgeconv.cli.options import (
    AllowPickle,
    Arch,
    InputShape,
    Json,
    Model,
    Plugin,
    Quiet,
    Verbose,
    load_plugins,
    parse_input_shapes,
    warn_of_pickle,
)


def export(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.onnx", help="Default: MODEL.onnx."),
    ] = None,
    input_shape: InputShape = None,
    arch: Arch = None,
    allow_pickle: AllowPickle = False,
    plugin: Plugin = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write MODEL as ONNX, checked by onnx.checker and against ONNX Runtime."""
    from edgeconv.api import export as export_model
    from edgeconv.exporter import write_onnx

    shapes = parse_input_shapes(input_shape or [])
    warn_of_pickle(model, allow_pickle)
    load_plugins(plugin)
    with console.progress() as report:
        report("export", 0, 1)
        exported = export_model(model, input_shapes=shapes, allow_pickle=allow_pickle, arch=arch)
        report("export", 1, 1)
    path = output or Path(f"{exported.name}.onnx")
    write_onnx(exported, path)

    graph = exported.model.graph
    console.show(
        f"{path}: {len(graph.node)} nodes, opset {exported.model.opset_import[0].version}, "
        f"{console.bytes_text(path.stat().st_size)}; "
        f"ONNX Runtime agrees with the original on {len(exported.golden)} inputs."
    )
    console.emit(
        {
            "model": exported.name,
            "origin": exported.origin,
            "file": path,
            "bytes": path.stat().st_size,
            "sha256": exported.sha256,
            "nodes": len(graph.node),
            "opsets": {o.domain or "ai.onnx": o.version for o in exported.model.opset_import},
            "inputs": [value.name for value in graph.input],
            "outputs": [value.name for value in graph.output],
            "checked_cases": [case.label for case in exported.golden],
        }
    )
