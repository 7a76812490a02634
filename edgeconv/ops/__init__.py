"""Operators kept whole from PyTorch to the artifact, one file each, and their registry.

`docs/add-an-op.md` shows how to add one from outside.
"""

from edgeconv.ops.op import Op, emit, op_name
from edgeconv.ops.registry import find, op_of, register, registered, translations

__all__ = [
    "Op",
    "emit",
    "find",
    "op_name",
    "op_of",
    "register",
    "registered",
    "translations",
]
