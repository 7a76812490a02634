"""`manifest.json`: what an artifact holds, for whom it was made, and from what."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgeconv.errors import ArtifactError, UsageError
from edgeconv.plan import Tensor
from edgeconv.precision import Precision
from edgeconv.strict import MismatchError, read
from edgeconv.target import Target, parse_target

SCHEMA = 4
"""Version of the artifact format that this edgeconv writes, and the newest that it reads."""

EMITS = ("bundle", "lib", "static", "exe")
DTYPES = frozenset(
    {
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
    }
)

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Model:
    """The network: its name, where it came from, the exported ONNX file's SHA-256, its size."""

    name: str
    origin: str
    onnx_sha256: str
    parameters: int
    macs: int


@dataclass(frozen=True)
class Memory:
    """What a run needs, in bytes; `scratch_bytes` is for each thread."""

    weights_bytes: int
    arena_bytes: int
    arena_lower_bound_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class File:
    """SHA-256 (hexadecimal) and size of one entry."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        schema: version of the format.
        edgeconv: version that wrote the artifact.
        tools: versions of the packages that made it, by name.
        inputs: the network's inputs, in order.
        outputs: the network's outputs, in order, with their tolerances.
        threads: number of threads that a run takes unless told otherwise.
        precision: in which tensors between kernels, and weights, are stored.
        preprocessing: how a photograph becomes the input, or None.
        golden: a label for each golden case, such as a photograph's name.
        emit: what was asked for: "bundle", "lib", "static" or "exe".
        files: every other entry.
    """

    schema: int
    edgeconv: str
    model: Model
    target: Target
    tools: dict[str, str]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    memory: Memory
    threads: int
    precision: Precision
    preprocessing: dict[str, object] | None
    golden: tuple[str, ...]
    emit: str
    files: dict[str, File]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists, as stored in `manifest.json`."""
        return {**asdict(self), "target": self.target.to_json()}

    def to_bytes(self) -> bytes:
        """Return the entry's bytes; equal manifests give equal bytes."""
        return (json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n").encode()


def parse_manifest(text: bytes) -> Manifest:
    """Return the manifest that `text` holds.

    Raises ArtifactError: not JSON, of a newer schema, or with an unknown, missing, mistyped or
    senseless value.
    """
    data = load_json(text, "manifest.json")
    schema = data.get("schema") if isinstance(data, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise ArtifactError(
            f"manifest.json: the artifact has schema {schema}, and this edgeconv reads up to "
            f"{SCHEMA}. Install the edgeconv that wrote it ({data.get('edgeconv', 'newer')}), "
            "or compile the model again with this one."
        )
    try:
        manifest = read(Manifest, data)
        target = parse_target(data["target"], "target")
        _check(manifest)
    except (MismatchError, UsageError) as error:
        older = type(schema) is int and 1 <= schema < SCHEMA
        what = f"of an older schema, {schema}" if older else "damaged or not edgeconv's"
        raise ArtifactError(
            f"manifest.json: {error}. The artifact is {what}: compile it again."
        ) from None
    return replace(manifest, target=target)


def load_json(text: bytes, entry: str) -> Any:
    """Return the data of a JSON entry; raises ArtifactError naming the entry."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{entry}: not JSON ({error}). The artifact is damaged: copy or compile it again."
        ) from None


def _check(manifest: Manifest) -> None:
    _require(manifest.schema >= 1, "schema", "1 or more")
    _require(manifest.emit in EMITS, "emit", f"one of {', '.join(EMITS)}")
    _require(manifest.threads >= 1, "threads", "1 or more")
    _require(bool(_SHA256.fullmatch(manifest.model.onnx_sha256)), "model.onnx_sha256", "a SHA-256")
    for side in ("inputs", "outputs"):
        tensors: tuple[Tensor, ...] = getattr(manifest, side)
        _require(len(tensors) > 0 or side == "inputs", side, "at least one")
        _require(len({t.name for t in tensors}) == len(tensors), side, "different names")
        for tensor in tensors:
            path = f"{side} {tensor.name!r}"
            _require(tensor.dtype in DTYPES, path, f"a dtype of {', '.join(sorted(DTYPES))}")
            _require(min(tensor.shape, default=1) >= 1, path, "sizes of 1 or more")
            _require(0 <= tensor.tolerance < float("inf"), path, "a tolerance of 0 or more")
    for name, size in asdict(manifest.memory).items():
        _require(size >= 0, f"memory.{name}", "0 or more")
    for name, file in manifest.files.items():
        fits = bool(_SHA256.fullmatch(file.sha256)) and file.bytes >= 0
        _require(fits, f"files.{name}", "a SHA-256 and a size")


def _require(holds: bool, path: str, wanted: str) -> None:
    if not holds:
        raise MismatchError(path, f"expected {wanted}")
