"""Zip archives of PyTorch: read within bounds, and packed anew from checked members.

PyTorch reads the fresh archives, never the user's file itself, so a zip that two readers
understand differently gains nothing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.modelfile import ZIP_ERRORS

_ROOT = "archive"
# PyTorch stores tensors as they are and compresses code and debug tables only.
_EXPANDED_BYTES = 256 << 20


def members(data: bytes, where: str) -> dict[str, bytes]:
    """Return a zip's members by name, without the folder that PyTorch puts around them.

    Raises:
        UnsupportedModelError: the zip, which is at `where`, is damaged, holds a name twice, or
            would expand to much more than its size.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > len(data) + _EXPANDED_BYTES:
                raise _damaged(where, "its members expand to far more than its size")
            for info in infos:
                name = info.filename.partition("/")[2]
                if name in found:
                    raise _damaged(where, f"it holds the member {name!r} twice")
                found[name] = archive.read(info)
    except ZIP_ERRORS as error:
        raise _damaged(where, str(error)) from error
    return found


def _damaged(where: str, how: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{where}: damaged ({how}); copy or export it again")


def pack(kept: Mapping[str, bytes]) -> bytes:
    """Return an archive of the members, as PyTorch reads it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in kept.items():
            archive.writestr(f"{_ROOT}/{name}", data)
    return buffer.getvalue()


def refusal(what: str) -> UnsupportedModelError:
    """Return the error for something in a file that could run code or touch files."""
    return UnsupportedModelError(
        f"{what} could run code when loaded, so edgeconv does not load the file; export the "
        "network to ONNX, or save it again as a program of tensors and standard operators only; "
        "or, if you trust whoever made the file, give --allow-pickle (allow_pickle=True)"
    )
