"""Exported models on disk: where the user wants one, and a store addressed by content."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import onnx

from edgeconv.errors import UsageError
from edgeconv.exporter.exported import Exported, model_bytes
from edgeconv.files import cache_dir, count_as_used, trim_at_times, write_atomic
from edgeconv.files import recall as recall_file

# How much the store may take.
ONNX_BYTES = 2 << 30


def write_onnx(exported: Exported, path: str | Path) -> None:
    """Write the model, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    write_atomic(Path(path), model_bytes(exported.model))


def remember(exported: Exported) -> Path:
    """Keep the model in the user's cache, for `recall` by its SHA-256; return the file.

    Raises:
        UsageError: the file cannot be written.
    """
    path = _path(exported.sha256)
    if path.is_file():
        count_as_used(path)
    else:
        write_onnx(exported, path)
        trim_at_times(path.parent, ONNX_BYTES)
    return path


def recall(sha256: str) -> onnx.ModelProto | None:
    """Return the remembered model of that SHA-256; None if there is none, or it is damaged.

    Raises:
        UsageError: the text is no SHA-256.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UsageError(f"{sha256[:80]!r} is no SHA-256: 64 lower-case hexadecimal digits")
    try:
        data = recall_file(_path(sha256))
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    return onnx.load_model_from_string(data)


def _path(sha256: str) -> Path:
    return cache_dir("onnx") / f"{sha256}.onnx"
