"""`edgeconv models`: the zoo."""

from __future__ import annotations

from edgeconv.cli import console
from edgeconv.cli.options import Json, Quiet, Verbose, zoo_name


def models(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the zoo's networks, which every command takes by name."""
    from edgeconv.zoo import list_models

    listing = console.table("model", "inputs", "weights", "classes", "what it is")
    found = []
    for name, model in list_models().items():
        for variant_name, variant in model.variants.items():
            full_name = zoo_name(name, variant_name)
            labelled = "named" if variant.labels else ""
            shapes = ", ".join(
                f"{key} {'x'.join(map(str, shape))}" for key, shape in variant.inputs.items()
            )
            listing.add_row(full_name, shapes, variant.weights, labelled, model.description)
            found.append(
                {
                    "name": full_name,
                    "description": model.description,
                    "inputs": variant.inputs,
                    "weights": variant.weights,
                    "labels": variant.labels is not None,
                }
            )
    console.show(listing)
    console.emit({"models": found})
