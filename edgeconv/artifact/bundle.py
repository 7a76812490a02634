"""The zip around an artifact: equal entries give equal bytes, and reading trusts none."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from edgeconv.errors import ArtifactError, UsageError
from edgeconv.files import read_whole, write_atomic

EXECUTABLES = frozenset({"runner"})
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
# Plain relative names with no part that starts with a dot, so no "..", "/etc", "C:\\" or ".ssh".
_PART = r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*"
_NAME = re.compile(rf"{_PART}(/{_PART})*")


def file_mode(name: str) -> int:
    """Return the permissions of an entry, in the zip and in a folder."""
    return 0o755 if name in EXECUTABLES else 0o644


def save_bundle(path: Path, entries: Mapping[str, bytes]) -> None:
    """Write `entries` (bytes by name) as one zip, atomically.

    Entries are sorted, stored without compression, with fixed timestamps and modes. Raises
    UsageError where the file cannot be written, ValueError for a name that no reader would take.
    """
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            if not _NAME.fullmatch(name):
                raise ValueError(f"entry name {name!r} is not a plain relative path")
            info = zipfile.ZipInfo(name, _TIMESTAMP)
            info.create_system = 3  # Unix, whatever this machine is
            info.external_attr = (stat.S_IFREG | file_mode(name)) << 16
            archive.writestr(info, entries[name])
    write_atomic(path, memory.getvalue())


def load_bundle(path: Path) -> dict[str, bytes]:
    """Return the bytes of every entry, by name; nothing is written anywhere.

    Raises UsageError where the file cannot be opened, ArtifactError where it is no zip as
    `save_bundle` writes them: cut short, compressed, encrypted, with a directory, an unsafe or
    repeated name, or a wrong checksum.
    """
    try:
        data = read_whole(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot open the artifact: {error.strerror}") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries: dict[str, bytes] = {}
            for info in archive.infolist():
                _check(path, info, entries)
                entries[info.filename] = archive.read(info)
    except (
        zipfile.BadZipFile,
        NotImplementedError,  # a version or flag that zipfile does not know
        RuntimeError,  # encrypted
        EOFError,
        ValueError,
        OSError,
        struct.error,
        zlib.error,
    ) as error:
        raise ArtifactError(
            f"{path}: damaged, cut short, or not an .edge file ({error}). "
            "Copy it again, or compile the model again."
        ) from None
    return entries


def _check(path: Path, info: zipfile.ZipInfo, seen: Mapping[str, bytes]) -> None:
    name = info.filename
    if not _NAME.fullmatch(name):
        raise ArtifactError(f"{path}: entry {name!r} has an unsafe name; not an edgeconv artifact.")
    if name in seen:
        raise ArtifactError(f"{path}: entry {name!r} is there twice; not an edgeconv artifact.")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ArtifactError(
            f"{path}: entry {name!r} is compressed; artifacts hold stored entries. If it was "
            "packed again by another program, take the original file."
        )
