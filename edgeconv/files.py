"""Writing files so that a reader never sees half of one; where edgeconv keeps its caches."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgeconv.errors import UsageError


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` beside `path`, then move it there; folders are made as needed.

    Raises UsageError where the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot write: {error.strerror}") from error


def cache_dir(name: str) -> Path:
    """Return the folder of one of edgeconv's caches, by XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edgeconv" / name
