"""`.pt2` files: programs that `torch.export.save` wrote."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.inputs import InputSpec, Request, supported_dtype
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.operators import load_operators
from edgeconv.frontend.pt2_check import checked_archive
from edgeconv.frontend.quiet import quiet
from edgeconv.frontend.source import Source

if TYPE_CHECKING:
    import torch


def recognises(file: ModelFile) -> bool:
    """Tell whether `torch.export.save` of PyTorch 2.8 or newer wrote the file."""
    return {"archive_format", "models/model.json"} <= file.members


def load(file: ModelFile, request: Request) -> Source:
    """Load the program after checking that nothing in it can run code, or as it is with consent.

    Raises:
        UnsupportedModelError: the file is damaged, could run code, or its program takes other
            than tensors by position, or was exported in training mode.
        UsageError: a shape or example does not fit.
    """
    import torch

    archive = file.path.read_bytes() if request.allow_pickle else checked_archive(file.path)
    load_operators(file)
    try:
        with quiet():
            program = torch.export.load(io.BytesIO(archive))
    except Exception as error:
        # What the deserialiser raises depends on what is wrong with the file.
        raise UnsupportedModelError(
            f"{file.path}: the program cannot be read ({type(error).__name__}: {error}); save it "
            "again with this PyTorch, or export it to ONNX"
        ) from error
    _refuse_training_mode(program, file)
    return Source(
        name=file.path.stem,
        origin=file.name,
        module=program,
        onnx=None,
        example_inputs=request.resolve(_specs(program, file), file.name),
    )


def _specs(program: torch.export.ExportedProgram, file: ModelFile) -> list[InputSpec]:
    import torch

    args, kwargs = program.example_inputs or ((), {})
    names = program.graph_signature.user_inputs
    if kwargs or len(args) != len(names) or not all(isinstance(a, torch.Tensor) for a in args):
        raise UnsupportedModelError(
            f"{file.path}: the program's inputs ({', '.join(map(str, names))}) are not all "
            "tensors given by position; export a module whose forward takes tensors only"
        )
    placeholders = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    specs = []
    for name, example in zip(names, args, strict=True):
        sizes = placeholders[str(name)].shape
        shape = tuple(size if isinstance(size, int) else None for size in sizes)
        dtype = supported_dtype(example.dtype, str(name), str(file.path))
        specs.append(InputSpec(str(name), dtype, shape, default=tuple(example.shape)))
    return specs


def _refuse_training_mode(program: torch.export.ExportedProgram, file: ModelFile) -> None:
    for node in program.graph.nodes:
        name = str(node.target)
        if not name.startswith(("aten.batch_norm", "aten.dropout")):
            continue
        names = (argument.name for argument in node.target._schema.arguments)
        values = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        if "norm" in name:
            # Without running statistics, as weights are standardised, it calculates them always.
            trains = values.get("training") and values.get("running_mean") is not None
        else:
            trains = values.get("train")
        if trains:
            raise UnsupportedModelError(
                f"{file.path}: layer {node.name} is in training mode; call module.eval() before "
                "torch.export.export"
            )
