"""`python -m benchmarks`: compare edgeconv with other runtimes, here and now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers, prepare, selection
from benchmarks.case import Case
from benchmarks.compare import OURS, compare, converted
from benchmarks.environments import is_set_up
from benchmarks.machine import description, peak_gflops
from benchmarks.report import Report, markdown_table, rewrite, text_table
from benchmarks.scaling import scale
from edgeconv.files import write_atomic

ALWAYS = (OURS, "onnxruntime")


def main() -> None:
    """Parse the command line, measure, print the tables; the JSON goes to a file."""
    options = _parser().parse_args()
    names = tuple(peers.PEERS if "all" in options.peers else dict.fromkeys((OURS, *options.peers)))
    missing = [name for name in names if not is_set_up(name)]
    if missing:
        sys.exit(f"set these up first: python -m benchmarks.environments {' '.join(missing)}")
    sources = selection.chosen(options)
    cases, failures = _prepare(sources, names, cold=options.cold)
    if options.prepare or not cases:
        sys.exit("\n".join(failures) or None)
    peaks = {threads: peak_gflops(prepare.BUILD, threads) for threads in options.threads}
    comparisons, scalings = [], []
    for case in cases:
        for threads in options.threads:
            _say(f"timing {case.name}, threads: {threads}")
            comparisons.append(compare(case, names, threads, options.seconds))
        if case.family == "network" and len(options.threads) > 1:
            scalings.append(scale(case, options.threads, options.seconds))
    report = Report(
        machine=description(),
        peaks=peaks,
        names=names,
        seconds=options.seconds,
        comparisons=tuple(comparisons),
        scalings=tuple(scaling for scaling in scalings if scaling is not None),
    )
    write_atomic(options.json, (json.dumps(report.to_json(), indent=1) + "\n").encode())
    print(report.tables(text_table))
    if options.markdown is not None:
        rewrite(options.markdown, "host", report.tables(markdown_table))
    _say(f"everything that was measured: {options.json}")
    sys.exit("\n".join(failures) or None)


def _prepare(
    sources: Sequence[str], names: Sequence[str], *, cold: bool
) -> tuple[list[Case], list[str]]:
    """Compile and convert; return the cases, and why others could not be compiled."""
    cases, failures = [], []
    for source in sources:
        _say(f"preparing {source}")
        try:
            case = prepare.prepare(source, cold=cold)
        except RuntimeError as error:
            failures.append(str(error))
            _say(str(error))
            continue
        cases.append(case)
        for name in names:
            _, measured = converted(case, name)
            if measured.status != "ok":
                _say(f"  {name}: {' '.join(measured.reason.split())[:200]}")
    return cases, failures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    selection.add_options(parser, "all")
    parser.add_argument(
        "--peers",
        nargs="*",
        default=ALWAYS,
        choices=["all", *peers.PEERS],
        metavar="PEER",
        help="runtimes beside edgeconv, or all",
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--seconds", type=float, default=1.2, help="for each peer, case and number of threads"
    )
    parser.add_argument("--cold", action="store_true", help="compile without cached kernels")
    parser.add_argument("--prepare", action="store_true", help="compile and convert only")
    parser.add_argument("--json", type=Path, default=prepare.BUILD / "results.json")
    parser.add_argument("--markdown", type=Path, help="page whose section `host` takes the tables")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
