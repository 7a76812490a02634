"""Reading and writing files whole or not at all; where edgeconv keeps its caches."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from edgeconv.errors import UsageError


def read_whole(path: Path) -> bytes:
    """Return a file's bytes; raises OSError, for pipes and devices too, which may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return path.read_bytes()


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` beside `path`, then move it there; folders are made as needed.

    Raises UsageError where the file cannot be written, or what is there is not a file: moving
    one to the path of a device would remove the device.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EEXIST, "what is there is not a regular file")
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


def refuse_unwritable(folder: Path) -> None:
    """Raise UsageError where no file can be put into `folder`, which need not exist yet.

    For what works long before it writes; the writing itself may still fail.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{folder}: cannot write there: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: cannot write there: this user may not, or it is read-only")


def cache_dir(name: str) -> Path:
    """Return the folder of one of edgeconv's caches, by XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edgeconv" / name
