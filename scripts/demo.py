"""The main job: a real network, compiled for a Raspberry Pi 4, run on its processor's emulator.

Compiles EfficientNet-Lite0 for rasp4 with photographs as golden inputs, classifies them with the
artifact and with PyTorch, and shows both side by side. Exits with the code of what failed: 4 where
the outputs differ by more than the tolerance.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edgeconv.api import compile as compile_model
from edgeconv.artifact import Artifact
from edgeconv.classification import Guess, top_classes
from edgeconv.errors import EdgeconvError, NumericError
from edgeconv.imaging import demo_photographs, load_batch
from edgeconv.metrics import compare
from edgeconv.zoo import find

MODEL = "efficientnet_lite0"
TARGET = "rasp4"
DEVICE = "emulator"
FILE = Path("build") / f"{MODEL}-{TARGET}.edge"
TOP = 3

# Where nothing is a terminal there is no width to ask for.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def main() -> None:
    """Compile, run, compare, report; raises NumericError where the outputs differ."""
    photographs = demo_photographs()
    inputs = network_inputs(photographs)
    say(f"Compiling {MODEL} with its ImageNet weights for {TARGET} ...")
    artifact, seconds = compile_for_board(inputs)
    say(f"Running it on {len(photographs)} photographs under {emulator(artifact)} ...")
    results = [run(artifact, case) for case in inputs.values()]
    passed = report(artifact, list(photographs), results)
    report_sizes(artifact, seconds)
    if not passed:
        raise NumericError("the artifact's outputs differ from PyTorch's by more than tolerated")
    say("All outputs are within their tolerance of PyTorch's.")


def network_inputs(photographs: dict[str, Path]) -> dict[str, dict[str, np.ndarray]]:
    """Return arrays by input name, for each photograph by its name."""
    _, variant = find(MODEL)
    assert variant.preprocessing is not None
    (name,) = variant.inputs
    batch = load_batch(photographs.values(), variant.preprocessing)
    return {label: {name: batch[i : i + 1]} for i, label in enumerate(photographs)}


def compile_for_board(inputs: dict[str, dict[str, np.ndarray]]) -> tuple[Artifact, float]:
    """Compile with the photographs as golden inputs; return the artifact and the seconds taken."""
    started = time.perf_counter()
    tty = sys.stdout.isatty()
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not tty
    ) as bars:
        tasks = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        artifact = compile_model(
            f"zoo:{MODEL}",
            target=TARGET,
            golden_inputs=inputs,
            progress=progress,
        )
    seconds = time.perf_counter() - started
    artifact.save(FILE)
    return artifact, seconds


def run(artifact: Artifact, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the artifact's class scores for one photograph, from the target's processor."""
    return artifact.run(inputs, DEVICE)[artifact.manifest.outputs[0].name]


def report(artifact: Artifact, names: list[str], results: list[np.ndarray]) -> bool:
    """Show classes and errors; return whether every error is within its tolerance."""
    output = artifact.manifest.outputs[0]
    classes = Table("photograph", "artifact on " + TARGET, "PyTorch", box=SIMPLE_HEAD)
    errors = Table(
        "photograph", "max abs error", "SQNR dB", "cosine", "relative", "tolerance", "",
        box=SIMPLE_HEAD,
    )  # fmt: skip
    passed = True
    # The golden outputs are the PyTorch module's own, for the same photographs.
    for name, got, (_, golden) in zip(names, results, artifact.golden_cases(), strict=True):
        want = golden[output.name]
        ours, theirs = (top_classes(scores, artifact.labels, TOP)[0] for scores in (got, want))
        classes.add_row(name, lines(ours), lines(theirs))
        metrics = compare(got, want)
        within = metrics.within(output.tolerance)
        same = [g.index for g in ours] == [g.index for g in theirs]
        passed = passed and within and same
        errors.add_row(
            name,
            f"{metrics.max_abs:.2e}",
            f"{metrics.sqnr_db:.1f}",
            f"{metrics.cosine:.9f}",
            f"{metrics.max_rel:.2e}",
            f"{output.tolerance:.2e}",
            "passed" if within and same else "[red]FAILED",
        )
    console.print(classes, errors)
    return passed


def report_sizes(artifact: Artifact, seconds: float) -> None:
    """Show bytes and times."""
    memory = artifact.manifest.memory
    sizes = Table("", "", box=SIMPLE_HEAD, show_header=False)
    size = FILE.stat().st_size
    sizes.add_row("artifact", f"{size:,} bytes ({size - memory.weights_bytes:,} beyond weights)")
    sizes.add_row("weights", f"{memory.weights_bytes:,} bytes")
    sizes.add_row(
        "arena",
        f"{memory.arena_bytes:,} bytes (lower bound {memory.arena_lower_bound_bytes:,})",
    )
    sizes.add_row("compile time", f"{seconds:.1f} s")
    sizes.add_row("file", str(FILE))
    console.print(sizes)


def lines(guesses: list[Guess]) -> str:
    """Return classes for a table's cell, one a line."""
    return "\n".join(f"{guess.probability:.4f} {guess.label}" for guess in guesses)


def emulator(artifact: Artifact) -> str:
    """Return the emulator's command, for people."""
    found = artifact.manifest.target.emulator
    assert found is not None
    return f"{found.program} -cpu {found.cpu}"


def say(text: str) -> None:
    """Print a line of progress."""
    console.print(text, markup=False)


if __name__ == "__main__":
    try:
        main()
    except EdgeconvError as error:
        console.print(f"demo failed: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
