"""Raw bytes of tensors and of packed weights, as the artifact and the runner have them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.plan import Tensor

Array = NDArray[Any]
Arrays = dict[str, Array]

_WEIGHTS_HEADER = struct.Struct("<8sIIQ32s8x")  # 64 bytes; zeros at the end
_WEIGHTS_MAGIC, _WEIGHTS_VERSION = b"ECWEIGHT", 1


def encode_tensor(array: Array) -> bytes:
    """Return an array's raw little-endian row-major bytes."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def decode_tensor(data: bytes, tensor: Tensor) -> Array:
    """Return the array that raw bytes hold; raises ValueError where the size does not fit."""
    dtype = np.dtype(tensor.dtype)
    array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(tensor.shape)
    return array.astype(dtype)


def golden_entries(cases: Sequence[tuple[Sequence[Array], Sequence[Array]]]) -> dict[str, bytes]:
    """Return the entries of golden cases, each a list of inputs and of outputs in order."""
    return {
        f"golden/{case}/{side}_{i}.bin": encode_tensor(array)
        for case, sides in enumerate(cases)
        for side, arrays in zip(("input", "output"), sides, strict=True)
        for i, array in enumerate(arrays)
    }


def weights_entry(data: bytes) -> bytes:
    """Return `weights.bin` for packed constants: the 64-byte header and the data."""
    digest = hashlib.sha256(data).digest()
    return _WEIGHTS_HEADER.pack(_WEIGHTS_MAGIC, _WEIGHTS_VERSION, 0, len(data), digest) + data


def weights_sha256(entry: bytes) -> bytes:
    """Return the 32 bytes of the data's SHA-256 in the header of a `weights.bin`."""
    digest: bytes = _WEIGHTS_HEADER.unpack_from(entry)[-1]
    return digest


def weights_data_bytes(entry: bytes) -> int:
    """Return the number of bytes after `weights.bin`'s header; -1 where the header is wrong."""
    if len(entry) < _WEIGHTS_HEADER.size:
        return -1
    magic, version, zero, size, digest = _WEIGHTS_HEADER.unpack_from(entry)
    data = entry[_WEIGHTS_HEADER.size :]
    right = (magic, version, zero, size) == (_WEIGHTS_MAGIC, _WEIGHTS_VERSION, 0, len(data))
    return len(data) if right and digest == hashlib.sha256(data).digest() else -1
