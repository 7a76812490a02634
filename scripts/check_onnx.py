"""Compiles and verifies `.onnx` files of other projects, and prints a Markdown table.

.venv/bin/python scripts/check_onnx.py [--target NAME] FILE_OR_FOLDER...

Outputs are compared with those of ONNX Runtime for the file as it is. Where a model leaves shapes
open, a file `shapes.toml` beside it gives them, a table per model:

    ["detector.onnx"]
    images = [1, 3, 320, 320]
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import onnx

import edgeconv
from edgeconv.errors import EdgeconvError

COLUMNS = ("model", "producer", "opset", "nodes", "compile s", "worst error", "tolerance", "result")


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield every model, folders' in order of name."""
    for path in paths:
        yield from sorted(path.rglob("*.onnx")) if path.is_dir() else [path]


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return what `shapes.toml` says about the model."""
    table = path.parent / "shapes.toml"
    entries = tomllib.loads(table.read_text()) if table.is_file() else {}
    return {name: tuple(shape) for name, shape in entries.get(path.name, {}).items()}


def description(path: Path) -> list[str]:
    """Return producer, opset and number of nodes as the file says."""
    model = onnx.load(path, load_external_data=False)
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    return [
        f"{model.producer_name} {model.producer_version}".strip(),
        str(opset),
        str(len(model.graph.node)),
    ]


def check(path: Path, target: str) -> list[str]:
    """Compile and verify one model; return seconds, error, tolerance and result."""
    started = time.perf_counter()
    try:
        artifact = edgeconv.compile(path, target=target, input_shapes=shapes(path))
    except EdgeconvError as error:
        seconds = time.perf_counter() - started
        return [f"{seconds:.1f}", "", "", f"refused: {' '.join(str(error).split())}"]
    seconds = time.perf_counter() - started
    report = artifact.verify()
    return [
        f"{seconds:.1f}",
        f"{max(output.metrics.max_rel for output in report.outputs):.1e}",
        f"{max(output.tolerance for output in report.outputs):.1e}",
        "passed" if report.passed else "FAILED",
    ]


def main() -> None:
    """Print the table, a row as soon as it is known; exit with 1 unless every model passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="host")
    parser.add_argument("paths", nargs="+", type=Path)
    arguments = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    results = []
    for path in files(arguments.paths):
        result = check(path, arguments.target)
        results.append(result[-1])
        cells = [path.stem, *description(path), *result]
        print("| " + " | ".join(cells) + " |", flush=True)
    sys.exit(any(result != "passed" for result in results))


if __name__ == "__main__":
    main()
