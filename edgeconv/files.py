"""Reading and writing files whole or not at all; where edgeconv keeps its caches."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

from edgeconv.errors import UsageError

CACHE_BYTES = 512 << 20
"""How much the files of a cache may take together, unless it says otherwise."""
# What is hidden is still being written, and a folder in use, unless that is longer ago.
_RECENT_S = 3600.0


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
        beside = _beside(path)
        try:
            with beside.open("xb") as file:
                file.write(data)
            beside.chmod(mode)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot write: {error.strerror}") from error


def write_new_folder(
    path: Path, contents: Mapping[str, bytes], mode: Callable[[str], int] = lambda _: 0o644
) -> None:
    """Write a folder of files beside `path`, then move it there.

    A folder that is there already stays: another process was first, with the same contents.

    Raises OSError, or UsageError for a single file, where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        beside.mkdir()
        for name, data in contents.items():
            write_atomic(beside / name, data, mode(name))
        beside.rename(path)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Return a new hidden name beside `path`.

    It is known before anything has it: a signal's exception, which may come between any two
    lines, then never leaves a file that nobody can name.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


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


def recall(path: Path) -> bytes:
    """Return a cache's file, which counts as used now; raises OSError where there is none."""
    data = read_whole(path)
    count_as_used(path)
    return data


def count_as_used(path: Path) -> None:
    """Have `trim_cache` take a cache's file or folder for used now."""
    # Whether reading counts as use is up to the file system. A cache may be read-only.
    with contextlib.suppress(OSError):
        os.utime(path)


def hold(folder: Path, owner: object) -> None:
    """Keep a cache's folder, from `trim_cache` of any process, while `owner` lives."""
    with contextlib.suppress(OSError):  # not every file system has locks
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(owner, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def trim_cache(folder: Path, limit: int = CACHE_BYTES) -> None:
    """Delete a cache's files and folders until `limit` bytes are left.

    Those go first that were used longest ago. A folder stays that was used within the hour, or that
    someone holds. Other processes may read, write and trim the cache at the same time: for one
    whose file is deleted before it reads it, it was never there.
    """
    found = []
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    size, may_be_in_use = status.st_size, entry.name.startswith(".")
                elif stat.S_ISDIR(status.st_mode):
                    size, may_be_in_use = _folder_bytes(entry.path), True
                else:
                    continue
                total += size
                if not may_be_in_use or status.st_mtime < time.time() - _RECENT_S:
                    found.append((status.st_mtime_ns, size, entry.path))
    for _, size, name in sorted(found):
        if total <= limit:
            return
        path = Path(name)
        with contextlib.suppress(OSError):
            if path.is_dir():
                _delete_folder(path)
            else:
                path.unlink(missing_ok=True)
            total -= size


def trim_at_times(folder: Path, limit: int = CACHE_BYTES) -> None:
    """Call `trim_cache`, which takes seconds for a full cache, every ten minutes or so."""
    marker = folder.with_name(f"{folder.name}.trimmed")  # hidden names are being written
    with contextlib.suppress(OSError):
        if not marker.exists() or marker.stat().st_mtime < time.time() - _RECENT_S / 6:
            marker.touch()
            trim_cache(folder, limit)


def _folder_bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _delete_folder(path: Path) -> None:
    """Delete a folder, whole for whoever looks for it; raises OSError where someone holds it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        beside = _beside(path)
        path.rename(beside)
        shutil.rmtree(beside, ignore_errors=True)
    finally:
        os.close(descriptor)
