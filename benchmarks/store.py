"""Results in a JSON file that grows while a long benchmark runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeconv.cli.console import plain
from edgeconv.files import write_atomic

Entry = dict[str, Any]
Results = dict[tuple[str, ...], Entry]


def load(path: Path, keys: Sequence[str]) -> Results:
    """Return what a file holds, by the values of `keys`; nothing where there is none."""
    if not path.is_file():
        return {}
    entries = json.loads(path.read_text())["results"]
    return {tuple(entry[key] for key in keys): entry for entry in entries}


def save(path: Path, found: Results, about: Mapping[str, object]) -> None:
    """Write the results, and what else a reader must know of them."""
    data = {**about, "results": list(found.values())}
    write_atomic(path, (json.dumps(plain(data), indent=1) + "\n").encode())
