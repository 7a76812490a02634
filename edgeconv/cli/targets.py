"""`edgeconv targets`: what can be compiled for."""

from __future__ import annotations

from edgeconv.cli import console
from edgeconv.cli.options import Json, Quiet, Verbose


def targets(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the targets; a board of your own is a TOML file: --target ./my-board.toml."""
    from edgeconv.target import list_targets

    found = list_targets()
    listing = console.table("target", "cores", "SIMD", "runs here", "board", right=("cores",))
    for target in found:
        if target.native:
            runs = "natively"
        elif target.emulator is not None:
            runs = f"{target.emulator.program} -cpu {target.emulator.cpu}"
        else:
            runs = "no"
        listing.add_row(
            target.name,
            str(target.cpu.cores),
            f"{target.cpu.vector_bits}-bit",
            runs,
            target.description,
        )
    console.show(listing)
    console.emit({"targets": [{**t.to_json(), "native": t.native} for t in found]})
