"""What commands write: results to stdout, everything else to stderr.

With `--json` stdout holds exactly one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table

PLAIN_WIDTH = 160  # columns where stdout is no terminal, so that tables are not cut


@dataclasses.dataclass
class Settings:
    """What the options common to all commands asked for."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False


settings = Settings()


def _console(*, stderr: bool) -> Console:
    # Made per use: tests and pipes exchange the streams under us.
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def show(*parts: RenderableType) -> None:
    """Print a result for people; nothing under `--json`."""
    if not settings.json:
        _console(stderr=False).print(*parts, sep="\n", markup=False)


def emit(result: Any) -> None:
    """Print a result as one JSON object, under `--json` only."""
    if settings.json:
        sys.stdout.write(json.dumps(plain(result), indent=2, allow_nan=False) + "\n")


def note(message: str) -> None:
    """Tell how the work goes; silent under `--quiet`."""
    if not settings.quiet:
        _console(stderr=True).print(message, markup=False)


def warn(message: str, title: str = "warning") -> None:
    """Say something that must not be overlooked, under `--quiet` too."""
    console = _console(stderr=True)
    if console.is_terminal:
        console.print(Panel(message, title=title, border_style="yellow", expand=False))
    else:
        console.print(f"{title}: {message}", markup=False)


def fail(message: str) -> None:
    """Print the one message that an error leaves behind."""
    console = _console(stderr=True)
    console.print("error:", style="bold red", end=" ")
    console.print(message, markup=False, soft_wrap=True)


def table(*columns: str, title: str | None = None, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named in `right` are aligned to the right."""
    result = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left")
    return result


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield `report(stage, done, total)`: bars on a terminal, else lines under `--verbose`."""
    if settings.quiet or not sys.stderr.isatty():
        yield _stage_lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


def _stage_lines() -> Callable[[str, int, int], None]:
    seen: set[str] = set()

    def report(stage: str, done: int, total: int) -> None:
        if settings.verbose and stage not in seen:
            seen.add(stage)
            note(f"{stage} ...")

    return report


def plain(value: Any) -> Any:
    """Return `value` as JSON knows it.

    Dataclasses and mappings become dicts, sequences lists, paths strings, NumPy scalars and
    arrays numbers and lists. JSON has no infinity or not-a-number: they become
    the strings "inf", "-inf" and "nan".
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif isinstance(value, Path):
        value = str(value)
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return [plain(item) for item in value]


def bytes_text(count: int) -> str:
    """Return a size for people, such as "17.6 MiB"."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
