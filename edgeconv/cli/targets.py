"""`edgeconv targets`: what can be compiled for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.cli import console
from edgeconv.cli.options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from edgeconv.target import Target


def targets(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the targets; a board of your own is a TOML file: --target ./my-board.toml."""
    from edgeconv.target import list_targets

    found = list_targets()
    listing = console.table("target", "computes", "runs here", "board")
    for target in found:
        if target.native:
            runs = "natively"
        elif target.gpu is not None:
            runs = "--device opencl"
        elif target.emulator is not None:
            runs = f"{target.emulator.program} -cpu {target.emulator.cpu}"
        else:
            runs = "no"
        listing.add_row(
            target.name,
            _processor(target),
            runs,
            target.description,
        )
    console.show(listing)
    console.emit({"targets": [{**t.to_json(), "native": t.native} for t in found]})


def _processor(target: Target) -> str:
    if target.gpu is not None:
        return f"{target.gpu.api}, {target.gpu.compute_units} cores"
    return f"{target.cpu.cores} cores, {target.cpu.vector_bits}-bit"
