"""`edgeconv run`: inputs in, outputs or class names out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeconv.cli import console
from edgeconv.cli.arrays import read_arrays, write_arrays
from edgeconv.cli.options import ArtifactFile, DeviceName, Json, Quiet, Verbose
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeconv.artifact import Artifact
    from edgeconv.classification import Guess
    from edgeconv.devices import Session


def run(
    artifact: ArtifactFile,
    more_images: Annotated[
        list[Path] | None, typer.Argument(metavar="[PHOTO]...", help="More photographs.")
    ] = None,
    device: DeviceName = None,
    inputs: Annotated[
        Path | None,
        typer.Option(metavar="IN.npz", help="Arrays by input name."),
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(metavar="OUT.npz", help="Where the arrays go, by output name."),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="PHOTO...", help="Photographs to classify."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show for each photograph.")] = 5,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run ARTIFACT on a device: on arrays (--inputs, --outputs) or photographs (--image)."""
    from edgeconv.artifact import Artifact

    photographs = [*(image or []), *(more_images or [])]
    if more_images and not image:
        raise UsageError(f"{more_images[0]}: what is it? Photographs come after --image")
    if bool(inputs) == bool(photographs) or bool(inputs) != bool(outputs):
        raise UsageError("give either --inputs IN.npz with --outputs OUT.npz, or --image PHOTO...")
    loaded = Artifact.load(artifact)
    if inputs is not None and outputs is not None:
        _run_arrays(loaded, device, inputs, outputs)
    else:
        _run_photographs(loaded, device, photographs, top)


def _run_arrays(artifact: Artifact, device: str | None, inputs: Path, outputs: Path) -> None:
    from edgeconv.devices import open_session

    session = open_session(artifact, device)
    results = session.run(read_arrays(inputs))
    write_arrays(outputs, results)
    listing = console.table("output", "shape", "dtype")
    for name, array in results.items():
        listing.add_row(name, "x".join(map(str, array.shape)), str(array.dtype))
    console.show(listing, f"Written to {outputs}.")
    console.emit(
        {
            "device": session.device.name,
            "outputs": {
                name: {"shape": array.shape, "dtype": str(array.dtype)}
                for name, array in results.items()
            },
            "file": outputs,
        }
    )


def _run_photographs(
    artifact: Artifact, device: str | None, photographs: list[Path], top: int
) -> None:
    from edgeconv.classification import top_classes
    from edgeconv.devices import open_session

    session = open_session(artifact, device)
    scores = _scores(session, artifact, photographs)
    guesses = dict(zip(photographs, top_classes(scores, artifact.labels, top), strict=True))
    _show_guesses(guesses)
    console.emit(
        {
            "device": session.device.name,
            "images": [{"image": path, "top": best} for path, best in guesses.items()],
        }
    )


def _scores(
    session: Session, artifact: Artifact, photographs: list[Path]
) -> npt.NDArray[np.float32]:
    """Return the network's first output for every photograph."""
    from edgeconv.batching import run_samples
    from edgeconv.imaging import Preprocessing, load_batch

    manifest = artifact.manifest
    if manifest.preprocessing is None or len(manifest.inputs) != 1:
        raise UsageError(
            "the artifact does not say how photographs become its input; "
            "prepare the arrays yourself and use --inputs"
        )
    images = load_batch(photographs, Preprocessing.from_json(manifest.preprocessing))
    samples = {manifest.inputs[0].name: images}
    with console.progress() as report:
        results = run_samples(session.run, samples, manifest.inputs, progress=report)
    return results[manifest.outputs[0].name]


def _show_guesses(guesses: dict[Path, list[Guess]]) -> None:
    for path, best in guesses.items():
        listing = console.table("class", "label", "probability", title=str(path), right=("class",))
        for guess in best:
            listing.add_row(str(guess.index), guess.label, f"{guess.probability:.4f}")
        console.show(listing)
