"""What a comparison found, as JSON and as tables for a terminal and for Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.compare import OURS, Comparison, Measured
from benchmarks.scaling import Scaling
from edgeconv.cli.console import plain
from edgeconv.files import write_atomic

SCHEMA = 1
_MIB = 1 << 20


@dataclass(frozen=True)
class Report:
    """A run of the benchmark.

    Attributes:
        machine: processor, cores, kernel.
        peaks: measured fp32 multiply-accumulate peak by number of threads, GFLOP/s.
        names: of the runtimes, edgeconv first.
        seconds: time for each peer, case and number of threads.
        comparisons: all cases.
        scalings: edgeconv alone by number of threads, of networks.
    """

    machine: dict[str, object]
    peaks: dict[int, float]
    names: tuple[str, ...]
    seconds: float
    comparisons: tuple[Comparison, ...]
    scalings: tuple[Scaling, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the runtimes that took a case, by name."""
        return {
            name: measured.version
            for c in self.comparisons
            for name, measured in c.peers.items()
            if measured.version
        }

    def notes(self) -> list[str]:
        """Say what disturbed the measurement."""
        found = [c.disturbance for c in self.comparisons]
        found += [scaling.disturbance for scaling in self.scalings]
        busy = [disturbance for disturbance in found if disturbance.busy]
        if not busy:
            return []
        cores = max(disturbance.other_cores for disturbance in busy)
        steal = max(disturbance.steal for disturbance in busy)
        load = max(disturbance.load_average for disturbance in busy)
        return [
            f"busy machine in {len(busy)} of {len(found)} comparisons: others took up "
            f"to {cores:.1f} cores, the hypervisor up to {steal:.0%}; load average up to "
            f"{load:.1f}. Those rows are marked with *; repeat them on a quiet machine."
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists; numbers that JSON lacks are strings."""
        data: dict[str, Any] = plain(
            {
                "schema": SCHEMA,
                "machine": self.machine,
                "peak_gflops": self.peaks,
                "versions": self.versions,
                "seconds_each": self.seconds,
                "notes": self.notes(),
                "geometric_means": self.means(),
                "comparisons": [self._comparison(c) for c in self.comparisons],
                "scalings": [_scaling(s) for s in self.scalings],
            }
        )
        return data

    def _comparison(self, c: Comparison) -> dict[str, Any]:
        fastest = c.fastest()
        return {
            "case": c.case.name,
            "source": c.case.source,
            "family": c.case.family,
            "threads": c.threads,
            "macs": c.case.macs,
            "compile_s": c.case.compile_s,
            "compiled_cold": c.case.compiled_cold,
            "gflops": self.gflops(c),
            "of_peak": self.of_peak(c),
            "busy": c.disturbance.busy,
            "disturbance": asdict(c.disturbance),
            "ratios": c.ratios(),
            "fastest_peer": None if fastest is None else fastest[0],
            "ratio_to_fastest": None if fastest is None else fastest[1],
            "peers": {name: _measured(m) for name, m in c.peers.items()},
        }

    def gflops(self, c: Comparison) -> float:
        """Return our useful operations a second, two a multiply-accumulate, in 1e9."""
        times = c.peers[OURS].times
        return math.nan if times is None else 2e-6 * c.case.macs / times.median_ms

    def of_peak(self, c: Comparison) -> float:
        """Return that as a part of the measured peak of as many threads."""
        return self.gflops(c) / self.peaks[c.threads]

    def means(self) -> list[dict[str, Any]]:
        """Return geometric means of the ratios: for networks and layers, by threads and peer."""
        found = []
        for kind, threads, group in self._groups():
            ratios: dict[str, list[float]] = {name: [] for name in (*self.names[1:], "fastest")}
            for c in group:
                for name, ratio in c.ratios().items():
                    ratios[name].append(ratio)
                fastest = c.fastest()
                if fastest is not None:
                    ratios["fastest"].append(fastest[1])
            found.append(
                {
                    "of": kind,
                    "threads": threads,
                    "means": {name: geometric_mean(values) for name, values in ratios.items()},
                    "counts": {name: len(values) for name, values in ratios.items()},
                    "ahead": {name: sum(v >= 1 for v in values) for name, values in ratios.items()},
                }
            )
        return found

    def _groups(self) -> list[tuple[str, int, list[Comparison]]]:
        groups = []
        for kind in ("networks", "layers"):
            for threads in self.peaks:
                group = [
                    c
                    for c in self.comparisons
                    if c.threads == threads and (c.case.family == "network") == (kind == "networks")
                ]
                if group:
                    groups.append((kind, threads, group))
        return groups

    def tables(self, style: Callable[[Sequence[str], Iterable[Sequence[str]]], str]) -> str:
        """Return everything for people; `style` makes a table of a head and rows."""
        parts = [self._heading()]
        for kind, threads, group in self._groups():
            word = "thread" if threads == 1 else "threads"
            parts.append(f"{kind.capitalize()}, {threads} {word}: times of a run")
            parts.append(style(self._speed_head(), [self._speed_row(c) for c in group]))
        if self.names[1:]:
            parts.append("Geometric means of the ratios (networks or layers, how many ahead)")
            parts.append(style(("of", "threads", *self._mean_names()), self._mean_rows()))
        if self.scalings:
            parts.append("edgeconv by threads, which took turns")
            parts.append(style(self._scaling_head(), [_scaling_row(s) for s in self.scalings]))
        for title, head, rows in self._resource_tables():
            parts += [title, style(head, rows)]
        reasons = list(self._reasons())
        if reasons:
            parts.append("What did not run")
            parts.append(style(("case", "threads", "runtime", "status", "reason"), reasons))
        return "\n\n".join([*parts, *self.notes()]) + "\n"

    def _heading(self) -> str:
        versions = ", ".join(f"{_title(n)} {self.versions.get(n, '?')}" for n in self.names)
        peaks = ", ".join(f"{gflops:.0f} with {n}" for n, gflops in self.peaks.items())
        return (
            f"{self.machine['processor']}, {self.machine['cores']} cores; measured fp32 peak in "
            f"GFLOP/s by threads: {peaks}.\n{versions}."
        )

    def _speed_head(self) -> tuple[str, ...]:
        others = [f"{_title(name)}" for name in self.names[1:]]
        return ("", "median ms", "min", "p90", "GFLOP/s", "of peak", *others, "fastest peer")

    def _speed_row(self, c: Comparison) -> tuple[str, ...]:
        ours = c.peers[OURS]
        mark = " *" if c.disturbance.busy else ""
        if ours.times is None or ours.status != "ok":
            own = (ours.status, "", "", "", "")
        else:
            t = ours.times
            has_macs = c.case.macs > 0
            own = (
                f"{t.median_ms:.3f}",
                f"{t.min_ms:.3f}",
                f"{t.p90_ms:.3f}",
                f"{self.gflops(c):.0f}" if has_macs else "",
                f"{self.of_peak(c):.0%}" if has_macs else "",
            )
        fastest = c.fastest()
        best = "" if fastest is None else f"{fastest[1]:.2f} {_title(fastest[0])}"
        ratios = c.ratios()
        cells = [
            f"{ratios[name]:.2f}" if name in ratios else c.peers[name].status
            for name in self.names[1:]
        ]
        return (c.case.name + mark, *own, *cells, best)

    def _scaling_head(self) -> tuple[str, ...]:
        fewest, *more = sorted(self.scalings[0].times)
        head = ["", "MMAC", f"{fewest}: median ms", "min"]
        for threads in more:
            head += [f"{threads}: median ms", "min", "times as fast", "by minima"]
        return tuple(head)

    def _mean_names(self) -> list[str]:
        return [*map(_title, self.names[1:]), "fastest"]

    def _mean_rows(self) -> list[tuple[str, ...]]:
        rows = []
        for entry in self.means():
            cells = [
                f"{mean:.2f} ({entry['ahead'][name]} of {entry['counts'][name]})"
                if entry["counts"][name]
                else ""
                for name, mean in entry["means"].items()
            ]
            rows.append((entry["of"], str(entry["threads"]), *cells))
        return rows

    def _resource_tables(self) -> Iterable[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Yield title, head and rows of what does not depend on speed."""
        group = [c for c in self.comparisons if c.threads == min(self.peaks)]
        head = ("", *map(_title, self.names))
        quantities: dict[str, Callable[[Measured], str]] = {
            "Largest relative error": lambda m: f"{m.error:.0e}",
            "Size of the model, MiB": lambda m: f"{m.model_bytes / _MIB:.1f}",
            "Peak resident memory, MiB": lambda m: f"{m.peak_bytes / _MIB:.1f}",
        }
        for title, text in quantities.items():
            rows = [
                (c.case.name, *(text(m) if m.times else "" for m in c.peers.values()))
                for c in group
            ]
            yield title, head, rows
        yield (
            "Compile time, s",
            ("", "edgeconv", "kernels"),
            [
                (
                    c.case.name,
                    f"{c.case.compile_s:.1f}",
                    "all compiled" if c.case.compiled_cold else "some from the cache",
                )
                for c in group
            ],
        )

    def _reasons(self) -> Iterable[tuple[str, ...]]:
        for c in self.comparisons:
            for name, measured in c.peers.items():
                if measured.status != "ok":
                    reason = " ".join(measured.reason.split())
                    row = (c.case.name, str(c.threads), _title(name), measured.status)
                    yield (*row, reason if len(reason) <= 120 else reason[:117] + "...")


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers; not a number where there are none."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else math.nan


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in columns; the first is aligned to the left, all others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def rewrite(path: Path, section: str, text: str) -> None:
    """Replace what stands between the marks of a section in a Markdown file.

    The marks are the comments `<!-- SECTION: made by ... -->` and `<!-- end of SECTION -->`.
    Raises ValueError where the file lacks them.
    """
    page = path.read_text(encoding="utf-8")
    begin, end = _between_marks(page, path, section)
    write_atomic(path, f"{page[:begin]}\n\n{text.strip()}\n\n{page[end:]}".encode())


def table_rows(path: Path, section: str, head: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows of the first table of a Markdown file's section, if it has that head.

    Raises ValueError as `rewrite` does.
    """
    page = path.read_text(encoding="utf-8")
    lines = page[slice(*_between_marks(page, path, section))].strip().splitlines()
    if lines[:2] != markdown_table(head, []).splitlines():
        return []
    table = takewhile(lambda line: line.startswith("|"), lines[2:])
    rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in table)
    return [tuple(cell.strip().replace("\\|", "|") for cell in row) for row in rows]


def _between_marks(page: str, path: Path, section: str) -> tuple[int, int]:
    begin = page.find(f"<!-- {section}:")
    end = page.find(f"<!-- end of {section} -->")
    if not 0 <= begin < end:
        raise ValueError(f"{path} has no marks <!-- {section}: ... --> <!-- end of {section} -->")
    return page.index("-->", begin) + len("-->"), end


def _scaling(scaling: Scaling) -> dict[str, Any]:
    return {
        "case": scaling.case.name,
        "macs": scaling.case.macs,
        "busy": scaling.disturbance.busy,
        "disturbance": asdict(scaling.disturbance),
        "times": {threads: asdict(times) for threads, times in scaling.times.items()},
        "speedups": {
            threads: {"of_medians": of_medians, "of_minima": of_minima}
            for threads, (of_medians, of_minima) in scaling.speedups().items()
        },
    }


def _scaling_row(scaling: Scaling) -> tuple[str, ...]:
    mark = " *" if scaling.disturbance.busy else ""
    row = [scaling.case.name + mark, f"{scaling.case.macs / 1e6:.0f}"]
    fewest = min(scaling.times)
    for threads, times in scaling.times.items():
        row += [f"{times.median_ms:.3f}", f"{times.min_ms:.3f}"]
        if threads != fewest:
            row += [f"{speedup:.2f}" for speedup in scaling.speedups()[threads]]
    return tuple(row)


def _measured(measured: Measured) -> dict[str, Any]:
    data = asdict(measured)
    times = data.pop("times")
    return {**data, **(times or {})}


def _title(name: str) -> str:
    return peers.load(name).title
