"""The kinds of files that are damaged: how one is written, damaged, and used."""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from samples import onnx_model

from fuzz import device_files, mutate

Options = dict[str, Any]
SHAPE = (1, 3, 8, 8)


@dataclass(frozen=True)
class Kind:
    """`write` makes a whole file and returns options for `use`, which returns an outcome or ""."""

    write: Callable[[Path], Options]
    damage: Callable[[bytes, Random, bytes], bytes]
    use: Callable[[Path, Options], str]


@functools.cache
def network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


def write_onnx(path: Path) -> Options:
    path.write_bytes(onnx_model().SerializeToString())
    return {}


def write_torchscript(path: Path) -> Options:
    import torch

    torch.jit.script(network()).save(path)
    return {"input_shapes": {"input": SHAPE}}


def write_program(path: Path) -> Options:
    import torch

    torch.export.save(torch.export.export(network(), (torch.zeros(SHAPE),)), path)
    return {}


def write_weights(path: Path) -> Options:
    import torch

    from edgeconv import zoo

    torch.save(zoo.load("resnet18", "tiny").state_dict(), path)
    return {"arch": "resnet18/tiny"}


def write_old_weights(path: Path) -> Options:
    import torch

    from edgeconv import zoo

    state = zoo.load("resnet18", "tiny").state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return {"arch": "resnet18/tiny"}


def damage_onnx(whole: bytes, draw: Random, payload: bytes) -> bytes:
    if draw.random() < 0.3:
        return mutate.flipped(whole, draw)
    return mutate.changed_model(whole, draw)


def damage_zip(whole: bytes, draw: Random, payload: bytes) -> bytes:
    if draw.random() < 0.3:
        return mutate.flipped(whole, draw)
    entries = mutate.changed_entries(mutate.read_entries(whole), draw, payload)
    return mutate.zipped(entries, draw)


def damage_bytes(whole: bytes, draw: Random, payload: bytes) -> bytes:
    return mutate.flipped(whole, draw)


def damage_artifact(whole: bytes, draw: Random, payload: bytes) -> bytes:
    if draw.random() < 0.3:
        return mutate.flipped(whole, draw)
    entries = mutate.changed_entries(mutate.read_entries(whole), draw, payload)
    if draw.random() < 0.8:
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


def use_model(path: Path, options: Options, every: int = 1) -> str:
    """Load a file, export one in `every` that loads, and compile one in four of those.

    Which ones is decided by the file's contents, so that a case is the same by itself.
    """
    from edgeconv.compiler.importer import unsupported
    from edgeconv.exporter import export
    from edgeconv.frontend import load_source

    source = load_source(path, **options)
    share = Random(path.read_bytes()).randrange(4 * every)
    if share >= 4:
        return "loaded"
    exported = export(source)
    if share or unsupported(exported.model):
        return "exported"
    compile_and_compare(exported, path.with_suffix(""))
    return "compiled"


def compile_and_compare(exported: Any, folder: Path) -> None:
    """Compile for this machine and compare with the golden outputs."""
    from edgeconv.compiler.pipeline import compile_exported
    from edgeconv.exporter import relative_error
    from edgeconv.runtime import Model
    from edgeconv.target import load_target

    artifact = compile_exported(exported, load_target("host"))
    with Model(artifact.unpack(folder)) as model:
        for case in exported.golden:
            got = model.run(case.inputs)
            for tensor in artifact.manifest.outputs:
                error = relative_error(got[tensor.name], case.outputs[tensor.name])
                assert error <= tensor.tolerance, f"{tensor.name}: {error} > {tensor.tolerance}"


KINDS = {
    "edge": Kind(device_files.write_artifact, damage_artifact, device_files.use_artifact),
    "folder": Kind(device_files.write_data, device_files.damage_data, device_files.use_data),
    "tar": Kind(device_files.write_tar, device_files.damage_tar, device_files.use_tar),
    "onnx": Kind(write_onnx, damage_onnx, use_model),
    "ts": Kind(write_torchscript, damage_zip, use_model),
    # Exporting takes a second or two here.
    "pt2": Kind(write_program, damage_zip, functools.partial(use_model, every=4)),
    "pt": Kind(write_weights, damage_zip, functools.partial(use_model, every=8)),
    "pth": Kind(write_old_weights, damage_bytes, functools.partial(use_model, every=8)),
}
