"""Arrays by name in .npz files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import UsageError
from edgeconv.files import read_whole, write_atomic

if TYPE_CHECKING:
    from edgeconv.artifact import Arrays


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of an .npz file; raises UsageError where it is none."""
    import numpy as np

    try:
        with np.load(io.BytesIO(read_whole(path)), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror or error}") from None
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path}: not an .npz file of plain arrays ({error}); "
            "write one with numpy.savez(path, NAME=array)"
        ) from None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by name to an .npz file, whole or not at all; raises UsageError."""
    import numpy as np

    memory = io.BytesIO()
    np.savez(memory, **arrays)  # type: ignore[arg-type]  # a name may not be "allow_pickle"
    write_atomic(path, memory.getvalue())
