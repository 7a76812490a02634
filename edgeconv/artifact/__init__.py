"""The `.edge` file: one zip that holds a compiled network and what proves it."""

from edgeconv.artifact.artifact import CPU_FUNCTIONS, OPENCL_SOURCES, Artifact
from edgeconv.artifact.manifest import SCHEMA, File, Manifest, Memory, Model, parse_manifest
from edgeconv.artifact.tensors import (
    Array,
    Arrays,
    decode_tensor,
    encode_tensor,
    golden_entries,
    weights_entry,
    weights_sha256,
)

__all__ = [
    "CPU_FUNCTIONS",
    "OPENCL_SOURCES",
    "SCHEMA",
    "Array",
    "Arrays",
    "Artifact",
    "File",
    "Manifest",
    "Memory",
    "Model",
    "decode_tensor",
    "encode_tensor",
    "golden_entries",
    "parse_manifest",
    "weights_entry",
    "weights_sha256",
]
