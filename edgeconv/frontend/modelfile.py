"""A model file as the recognisers see it: its first bytes, and its members if it is a zip."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from edgeconv.errors import UnsupportedModelError

_HEAD_BYTES = 16

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises for archives that are damaged."""


@dataclass(frozen=True)
class ModelFile:
    """What can be told about a file without understanding it.

    Attributes:
        path: where it is.
        head: its first 16 bytes, or fewer.
        members: names in the zip, without the folder that PyTorch puts around them; empty for
            a file that is no zip.
    """

    path: Path
    head: bytes
    members: frozenset[str]

    @property
    def name(self) -> str:
        """Return the file's name without folders, for messages that end up in artifacts."""
        return self.path.name


def look_at(path: Path) -> ModelFile:
    """Read what the recognisers need.

    Raises:
        UnsupportedModelError: the file is missing, no file, unreadable, empty, or a zip that was
            cut off.
    """
    try:
        if not path.exists():
            raise UnsupportedModelError(
                f"{path}: no such file (a network of the zoo is zoo:NAME, see `edgeconv models`)"
            )
        if not path.is_file():
            raise UnsupportedModelError(f"{path}: not a file; give the model file itself")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        members = _zip_members(path) if head.startswith(b"PK") else frozenset()
    except OSError as error:
        raise UnsupportedModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not head:
        raise UnsupportedModelError(f"{path}: the file is empty; copy or export it again")
    return ModelFile(path, head, members)


def _zip_members(path: Path) -> frozenset[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_ERRORS as error:
        raise UnsupportedModelError(
            f"{path}: a zip archive that is cut off or damaged ({error}); copy it again"
        ) from error
    return frozenset(name.partition("/")[2] or name for name in names)
