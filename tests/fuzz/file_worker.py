"""`python -m fuzz.file_worker KIND SEED END`: runs damaged files, one line for each outcome."""

import functools
import hashlib
import json
import logging
import os
import pickle
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from payload import Bomb
from samples import make_artifact, onnx_model

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError
from fuzz import mutate

MEMORY_BYTES = 12 << 30  # of the whole process, most of it libraries
SHAPE = (1, 3, 8, 8)


@functools.cache
def network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


def write_artifact(path: Path) -> dict[str, Any]:
    make_artifact().save(path)
    return {}


def write_onnx(path: Path) -> dict[str, Any]:
    path.write_bytes(onnx_model().SerializeToString())
    return {}


def write_torchscript(path: Path) -> dict[str, Any]:
    import torch

    torch.jit.script(network()).save(path)
    return {"input_shapes": {"input": SHAPE}}


def write_program(path: Path) -> dict[str, Any]:
    import torch

    torch.export.save(torch.export.export(network(), (torch.zeros(SHAPE),)), path)
    return {}


def write_weights(path: Path) -> dict[str, Any]:
    import torch

    from edgeconv import zoo

    torch.save(zoo.load("resnet18", "tiny").state_dict(), path)
    return {"arch": "resnet18/tiny"}


def write_old_weights(path: Path) -> dict[str, Any]:
    import torch

    from edgeconv import zoo

    state = zoo.load("resnet18", "tiny").state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return {"arch": "resnet18/tiny"}


def damage(kind: str, whole: bytes, draw: Random, payload: bytes) -> bytes:
    """Return damaged bytes; half of them damaged by someone who knows the format."""
    if kind == "pth" or draw.random() < 0.3:
        return mutate.flipped(whole, draw)
    if kind == "onnx":
        return mutate.changed_model(whole, draw)
    entries = mutate.changed_entries(mutate.read_entries(whole), draw, payload)
    if kind == "edge" and draw.random() < 0.8:
        entries = with_hashes(entries)
    return mutate.zipped(entries, draw)


def with_hashes(entries: mutate.Entries) -> mutate.Entries:
    """Make the manifest's hashes right, so that what comes after them is reached."""
    content = dict(entries)
    try:
        manifest = json.loads(content["manifest.json"])
        for name, data in content.items():
            if name in manifest["files"]:
                known = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                manifest["files"][name] = known
    except (ValueError, KeyError, TypeError):
        return entries
    text = json.dumps(manifest).encode()
    return [(name, text if name == "manifest.json" else data) for name, data in entries]


def use_artifact(path: Path, options: dict[str, Any]) -> None:
    artifact = Artifact.load(path)
    assert len(artifact.golden_cases()) == len(artifact.manifest.golden)
    artifact.unpack(path.with_suffix(""))


def use_model(path: Path, options: dict[str, Any]) -> None:
    from edgeconv.frontend import load_source

    load_source(path, **options)


def use_onnx(path: Path, options: dict[str, Any]) -> None:
    from edgeconv.compiler.importer import unsupported
    from edgeconv.exporter import export
    from edgeconv.frontend import load_source

    unsupported(export(load_source(path, **options)).model)


KINDS: dict[str, tuple[Callable[..., dict[str, Any]], Callable[..., None]]] = {
    "edge": (write_artifact, use_artifact),
    "onnx": (write_onnx, use_onnx),
    "ts": (write_torchscript, use_model),
    "pt2": (write_program, use_model),
    "pt": (write_weights, use_model),
    "pth": (write_old_weights, use_model),
}


def run_case(kind: str, whole: bytes, options: dict[str, Any], seed: int) -> str:
    """Return "ok", the class of the refusal, or what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mark, path = folder / "mark", folder / "files" / f"net.{kind}"
        path.parent.mkdir()
        path.write_bytes(damage(kind, whole, Random(seed), pickle.dumps(Bomb(mark), 2)))
        try:
            KINDS[kind][1](path, options)
            outcome = "ok"
        except EdgeconvError as refusal:
            outcome = type(refusal).__name__
        except BaseException as error:
            outcome = f"FAILED: {type(error).__name__}: {str(error)[:300]!r}"
        left = {item.name for item in path.parent.iterdir()} - {path.name, path.stem}
        if mark.exists() or left:
            outcome = f"FAILED: code ran: {mark.exists()}, files left: {left}"
        return outcome


def main() -> None:
    """Run the cases that the command line names."""
    kind, first, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # Libraries write to stdout; the outcomes go where it was.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"net.{kind}"
        options = KINDS[kind][0](path)
        whole = path.read_bytes()
    for seed in range(first, end):
        print("case", run_case(kind, whole, options, seed), file=report, flush=True)


if __name__ == "__main__":
    main()
