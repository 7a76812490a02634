"""Compiles and verifies the whole zoo for several targets, and prints a Markdown table.

.venv/bin/python scripts/zoo_table.py [--tiny] [TARGET...]      (default: host rasp4 rasp2)
"""

from __future__ import annotations

import sys
import time

import edgeconv
from edgeconv.zoo import list_models

COLUMNS = (
    *("network", "target", "compile s", "artifact bytes", "beyond weights", "of it golden"),
    *("arena", "lower bound", "worst relative error", "tolerance", "where"),
)


def row(model: str, target: str) -> list[str]:
    """Compile and verify one network; return a table row."""
    started = time.perf_counter()
    artifact = edgeconv.compile(model, target=target)
    seconds = time.perf_counter() - started
    report = artifact.verify()
    report.raise_if_failed()
    memory = artifact.manifest.memory
    size = sum(file.bytes for file in artifact.manifest.files.values())
    golden = sum(
        file.bytes for name, file in artifact.manifest.files.items() if name.startswith("golden/")
    )
    return [
        model.removeprefix("zoo:").removesuffix("/full"),
        target,
        f"{seconds:.1f}",
        f"{size:,}",
        f"{size - memory.weights_bytes:,}",
        f"{golden:,}",
        f"{memory.arena_bytes:,}",
        f"{memory.arena_lower_bound_bytes:,}",
        f"{max(output.metrics.max_rel for output in report.outputs):.1e}",
        f"{max(output.tolerance for output in report.outputs):.1e}",
        "emulated" if report.emulated else "this machine",
    ]


def main() -> None:
    """Print the table, a row as soon as it is known."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--tiny"]
    tiny = "--tiny" in sys.argv
    models = [
        f"zoo:{name}/{variant}"
        for name, model in list_models().items()
        for variant in model.variants
        if (variant == "tiny") == tiny
    ]
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    for model in models:
        for target in arguments or ["host", "rasp4", "rasp2"]:
            print("| " + " | ".join(row(model, target)) + " |", flush=True)


if __name__ == "__main__":
    main()
