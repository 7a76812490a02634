"""Fresh archives of checked members: PyTorch reads these, never the user's file itself.

So a zip that two readers understand differently gains nothing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.modelfile import ZIP_ERRORS

_ROOT = "archive"

Check = Callable[[str, bytes], bytes | None]
"""Takes a member's name and data; returns the data to keep, or None to leave it out."""


def rewrite(path: Path, check: Check) -> bytes:
    """Return an archive of what `check` keeps of the zip's members.

    Raises:
        UnsupportedModelError: the zip is damaged, or `check` refuses a member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()
            }
    except ZIP_ERRORS as error:
        raise UnsupportedModelError(
            f"{path}: damaged ({error}); copy or export it again"
        ) from error
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as kept:
        for name, data in members.items():
            checked = check(name, data)
            if checked is not None:
                kept.writestr(f"{_ROOT}/{name}", checked)
    return buffer.getvalue()


def refusal(what: str) -> UnsupportedModelError:
    """Return the error for something in a file that could run code or touch files."""
    return UnsupportedModelError(
        f"{what} could run code when loaded, so edgeconv does not load the file; export the "
        "network to ONNX, or save it again as a program of tensors and standard operators only; "
        "or, if you trust whoever made the file, give --allow-pickle (allow_pickle=True)"
    )
