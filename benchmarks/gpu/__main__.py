"""`python -m benchmarks.gpu`: kernels, bytes and times of edgeconv's and of dlight's schedules.

Both run in the same process' twins, one after the other, on this machine's OpenCL driver. Bytes are
those of every kernel's operands; the lower bound takes each weight and each activation that a
kernel of the network needs once per kernel, without padding lanes and changes of layout.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import exp, log
from statistics import median

import numpy as np

import edgeconv
from benchmarks.case import build
from benchmarks.gpu.dlight import dlight_schedules
from benchmarks.gpu.traffic import moved, needed
from benchmarks.prepare import case_name, sources
from benchmarks.report import markdown_table
from edgeconv.artifact import Artifact
from edgeconv.devices import open_session


@dataclass(frozen=True)
class Measured:
    """One artifact: kernels launched, bytes of their operands, the least of those, milliseconds."""

    kernels: int
    moved: int
    needed: int
    ms: float


def main() -> None:
    """Parse the command line, measure, print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", default="*", help="pattern of names")
    parser.add_argument("--target", default="mali-g610", help="whose GPU the schedules are for")
    parser.add_argument("--full", action="store_true", help="networks of full size, not tiny ones")
    parser.add_argument("--layers", action="store_true", help="single layers, not networks")
    parser.add_argument("--repeat", type=int, default=20, help="runs that are timed")
    options = parser.parse_args()
    found = sources(
        options.only, tiny=not options.full, networks=not options.layers, layers=options.layers
    )
    rows, ratios = [], []
    for source in found:
        ours = _measure(source, options.target, options.repeat)
        with dlight_schedules():
            theirs = _measure(source, options.target, options.repeat)
        ratios.append(theirs.ms / ours.ms)
        rows.append(
            [
                case_name(source),
                f"{ours.kernels}",
                f"{theirs.kernels}",
                f"{ours.moved / ours.needed:.2f}",
                f"{ours.ms:.2f}",
                f"{theirs.ms:.2f}",
                f"{ratios[-1]:.2f}",
            ]
        )
        print(rows[-1], flush=True)
    head = ["", "kernels", "dlight's", "bytes / bound", "ms", "dlight's ms", "times as fast"]
    mean = exp(sum(map(log, ratios)) / len(ratios))
    print(markdown_table(head, rows), f"\ngeometric mean: {mean:.2f}")


def _measure(source: str, target: str, repeat: int) -> Measured:
    artifact = _compile(source, target)
    report = open_session(artifact, "opencl").profile(warmup=3, repeat=repeat)
    runs = zip(*(step.ms for step in report.steps), strict=True)
    plan = artifact.plan
    return Measured(
        kernels=len(plan.steps),
        moved=moved(plan),
        needed=needed(plan),
        ms=median(map(sum, runs)),
    )


def _compile(source: str, target: str) -> Artifact:
    kind, name = source.split(":", 1)
    if kind == "zoo":
        return edgeconv.compile(source, target=target)
    from benchmarks.layers import LAYERS

    layer = next(layer for layer in LAYERS if layer.name == name)
    inputs = [np.zeros(shape, np.float32) + 0.5 for shape in layer.shapes]
    return edgeconv.compile(build(source), inputs, target=target)


if __name__ == "__main__":
    main()
