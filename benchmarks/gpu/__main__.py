"""`python -m benchmarks.gpu`: kernels, bytes and times of edgeconv's and of dlight's schedules.

Both run as twins on this machine's OpenCL driver. Bytes are those of every kernel's operands; the
lower bound takes each weight and each activation that a kernel of the network needs once per
kernel, without padding lanes and changes of layout.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import prepare, selection, store
from benchmarks.gpu.compare import Measured, compare
from benchmarks.machine import description
from benchmarks.report import geometric_mean, markdown_table, rewrite, text_table
from edgeconv.errors import EdgeconvError

_HEAD = (
    *("", "kernels", "of them layout", "dlight's kernels", "bytes / bound"),
    *("without Winograd's tiles", "dlight's"),
    *("arena MiB", "arena / bound", "error / tolerance", "ms", "dlight's ms", "times as fast"),
)


def main() -> None:
    """Parse the command line, measure, print a table; the JSON goes to a file."""
    options = _parser().parse_args()
    sources = selection.chosen(options)
    found = store.load(options.json, ("case", "target")) if options.add else {}
    for source in sources:
        name = prepare.case_name(source) + ("" if options.winograd else " without Winograd")
        print(f"measuring {name} for {options.target}", file=sys.stderr, flush=True)
        found[name, options.target] = entry = {"case": name, "target": options.target}
        try:
            ours, theirs, driver = compare(
                source, options.target, options.seconds, winograd=options.winograd
            )
            entry |= {"edgeconv": asdict(ours), "dlight": asdict(theirs), "driver": driver}
        except EdgeconvError as error:
            entry["reason"] = str(error)
        store.save(options.json, found, {"machine": description()})
    entries = list(found.values())
    head, rows = _HEAD, [_row(entry) for entry in entries]
    notes = _notes(entries)
    print(f"{text_table(head, rows)}\n\n{notes}")
    if options.markdown is not None:
        rewrite(options.markdown, "gpu", f"{notes}\n\n{markdown_table(head, rows)}")
    sys.exit("\n".join(f"{e['case']}: {e['reason']}" for e in entries if "reason" in e) or None)


def _row(entry: store.Entry) -> tuple[str, ...]:
    if "reason" in entry:
        return (entry["case"], "failed", *[""] * (len(_HEAD) - 2))
    ours, theirs = Measured(**entry["edgeconv"]), Measured(**entry["dlight"])
    return (
        entry["case"],
        f"{ours.kernels}",
        f"{ours.layouts}",
        f"{theirs.kernels}",
        f"{ours.moved / ours.needed:.2f}",
        f"{(ours.moved - ours.tiles) / ours.needed:.2f}",
        f"{theirs.moved / theirs.needed:.2f}",
        f"{ours.arena / 2**20:.2f}",
        f"{ours.arena / ours.bound:.2f}",
        f"{ours.error:.3f}",
        _time(ours),
        _time(theirs),
        f"{theirs.ms / ours.ms:.2f}" if ours.ms and theirs.ms else "",
    )


def _time(measured: Measured) -> str:
    return f"{measured.ms:.2f}" if measured.ms else measured.reason.split(":")[0]


def _notes(entries: list[store.Entry]) -> str:
    pairs = [(e["edgeconv"]["ms"], e["dlight"]["ms"]) for e in entries if "edgeconv" in e]
    ratios = [theirs / ours for ours, theirs in pairs if ours and theirs]
    drivers = sorted({e["driver"] for e in entries if "driver" in e})
    ahead = sum(ratio >= 1 for ratio in ratios)
    return (
        f"{', '.join(drivers)}. Geometric mean of the ratios: {geometric_mean(ratios):.2f}; "
        f"edgeconv is ahead in {ahead} of {len(ratios)}."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    selection.add_options(parser, "networks")
    parser.add_argument("--target", default="mali-g610", help="whose GPU the schedules are for")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="for each of the two, beside warming up"
    )
    parser.add_argument(
        "--winograd", action=argparse.BooleanOptionalAction, default=True, help="in edgeconv's"
    )
    parser.add_argument("--json", type=Path, default=prepare.BUILD / "gpu.json")
    parser.add_argument(
        "--add", action="store_true", help="keep what the JSON file holds of other cases"
    )
    parser.add_argument("--markdown", type=Path, help="page whose section `gpu` takes the table")
    return parser


if __name__ == "__main__":
    main()
