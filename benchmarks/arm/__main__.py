"""`python -m benchmarks.arm`: count what networks execute on ARM boards, under qemu.

Counts are counts. The times are estimates, fitted to published times of the boards: see
docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import peers, prepare, selection, store
from benchmarks.arm.boards import BOARDS, PACKAGES, Board
from benchmarks.arm.emulate import Counts, EmulationError, artifact_counts, guest_counts
from benchmarks.case import Case
from benchmarks.compare import OURS, converted
from benchmarks.report import markdown_table, rewrite, table_rows, text_table

_WRONG = 1e-3
_HEAD = (
    *("", "board", "runtime", "M insns", "FMA", "M MACs", "load MB", "store MB"),
    *("M L1D misses", "M L2 misses", "memory MB", "fitted ms (estimate)"),
)


def main() -> None:
    """Parse the command line, count, print a table; the JSON goes to a file."""
    options = _parser().parse_args()
    sources = selection.chosen(options)
    about = {"boards": {name: asdict(board) for name, board in BOARDS.items()}, "threads": 1}
    found = _load(options.json) if options.add else {}
    for source in sources:
        for board in options.boards:
            case = prepare.prepare(source, BOARDS[board].target)
            for name in (OURS, *options.peers):
                print(f"counting {case.name} on {board}: {name}", file=sys.stderr, flush=True)
                found[case.name, board, name] = _count(case, board, name, options.limit)
                # Counting takes hours: what was counted before an interruption stays.
                store.save(options.json, found, about)
    rows = [_row(entry) for entry in found.values()]
    notes = "\n".join(_fit_note(board, BOARDS[board]) for board in options.boards)
    print(f"{text_table(_HEAD, rows)}\n\n{notes}")
    if options.markdown is not None:
        if options.add:
            rows = _with_others(rows, table_rows(options.markdown, "arm", _HEAD))
        rewrite(options.markdown, "arm", f"{markdown_table(_HEAD, rows)}\n\n{notes}")


def _with_others(
    counted: list[tuple[str, ...]], others: list[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Return the rows of a table, those that were counted again in their places."""
    rows = {row[:3]: row for row in others}
    return list((rows | {row[:3]: row for row in counted}).values())


def _count(case: Case, board: str, name: str, limit_s: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"case": case.name, "board": board, "runtime": name, "status": "ok"}
    try:
        if name == OURS:
            counts = artifact_counts(case, board, limit_s)
        else:
            folder, outcome = converted(case, name)
            if outcome.status != "ok":
                return {**entry, "status": outcome.status, "reason": outcome.reason}
            counts, error = guest_counts(case, folder, name, board, limit_s)
            entry["error"] = error
            entry["status"] = "ok" if error <= max(_WRONG, *case.tolerances) else "wrong"
    except EmulationError as error:
        return {**entry, "status": "failed", "reason": str(error)}
    return {**entry, "counts": counts, "fitted_ms": counts.fitted_ms(BOARDS[board])}


def _load(path: Path) -> store.Results:
    found = store.load(path, ("case", "board", "runtime"))
    for entry in found.values():
        if "counts" in entry:
            entry["counts"] = Counts(**entry["counts"])
    return found


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    head = (entry["case"], entry["board"], peers.load(entry["runtime"]).title)
    if entry["status"] != "ok":
        return (*head, entry["status"], *[""] * (len(_HEAD) - len(head) - 1))
    c: Counts = entry["counts"]
    millions = (c.macs, c.load_bytes, c.store_bytes, c.l1d_misses, c.l2_misses, c.memory_bytes)
    return (
        *head,
        _short(c.insns / 1e6),
        f"{c.fma_insns / c.insns:.0%}",
        *(_short(count / 1e6) for count in millions),
        _short(entry["fitted_ms"]),
    )


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _fit_note(name: str, board: Board) -> str:
    fit = board.fit
    return (
        f"{name}: fitted to {fit.networks} published single-thread times; mean error "
        f"{fit.mean_error:.1%}, worst {fit.worst_error:.1%}; {board.frequency_hz / 1e9} GHz."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arm", description=__doc__)
    selection.add_options(parser, "networks")
    parser.add_argument("--boards", nargs="+", choices=BOARDS, default=["pi4"])
    parser.add_argument("--peers", nargs="*", choices=PACKAGES, default=[], metavar="PEER")
    parser.add_argument(
        "--limit", type=float, default=7200.0, metavar="SECONDS", help="longest that a program runs"
    )
    parser.add_argument("--json", type=Path, default=prepare.BUILD / "arm.json")
    parser.add_argument(
        "--add",
        action="store_true",
        help="keep what the JSON file and the page hold of other cases",
    )
    parser.add_argument("--markdown", type=Path, help="page whose section `arm` takes the table")
    return parser


if __name__ == "__main__":
    main()
