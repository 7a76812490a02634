"""Damaged files that meet compiled code: artifacts, their folders on a device, a board's answers.

An artifact is a program. Its SHA-256 protects it from damage, not from its author: machine code
that was changed, hashes and all, may do anything, so it is loaded here and never run.
"""

import io
import json
import os
import resource
import subprocess
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import c_programs
import numpy as np

from edgeconv.artifact import Artifact
from edgeconv.compiler.link import Emit
from edgeconv.devices.base import Completed
from edgeconv.devices.ssh import SshDevice
from edgeconv.runtime import Model
from fuzz import mutate

RUNNER_CODES = (0, 2, 3, 4, 5)  # the sanitizers exit with 1
RUNNER_LIMIT_S = 30
OUTPUTS = ["output_0.bin", "output_1.bin"]


def write_artifact(path: Path) -> dict[str, Any]:
    artifact = c_programs.make_artifact(c_programs.linked("host", Emit.BUNDLE))
    artifact.save(path)
    return {"libmodel.so": artifact.entries["libmodel.so"]}


def use_artifact(path: Path, options: dict[str, Any]) -> str:
    artifact = Artifact.load(path)
    assert len(artifact.golden_cases()) == len(artifact.manifest.golden)
    artifact.unpack(path.with_suffix(""))
    if artifact.entries.get("libmodel.so") != options["libmodel.so"]:
        return "not run"
    case = c_programs.inputs(3)
    with (
        patch.dict(os.environ, XDG_CACHE_HOME=str(path.parents[1] / "cache")),
        Model(path) as model,
    ):
        got = model.run(case)
    # Neither code nor weights were changed, or the library would not have taken them.
    for name, want in c_programs.outputs(**case).items():
        np.testing.assert_array_equal(got[name], want, strict=True)
    return "run"


def write_data(path: Path) -> dict[str, Any]:
    """Write what a runner reads, and build a runner that stops at any fault."""
    path.write_bytes(mutate.zipped(list(c_programs.data_entries().items()), Random(0)))
    return {"runner": c_programs.sanitized_runner(path.parent / "runner")}


def damage_data(whole: bytes, draw: Random, payload: bytes) -> bytes:
    entries = mutate.read_entries(whole)
    for _ in range(draw.choice([1, 1, 2])):
        entries = mutate.changed_entries(entries, draw, payload)
    if draw.random() < 0.3:
        content = dict(entries)
        content["weights.bin"] = mutate.flipped(content.get("weights.bin", b"")[:64], draw)
        entries = list(content.items())
    return mutate.zipped(entries, draw)


def use_data(path: Path, options: dict[str, Any]) -> str:
    folder = path.with_suffix("")
    _write_plain_entries(path, folder)
    words = Random(path.read_bytes()).choice(
        [
            ["--self-test"],
            ["--self-test", "--threads", "2"],
            ["--profile", "--repeat", "2"],
            ["--output", f"0={folder}/y", "--dump-steps", str(folder / "steps")],
        ]
    )
    done = subprocess.run(
        [options["runner"], folder, *words],
        capture_output=True,
        timeout=RUNNER_LIMIT_S,
        check=False,
        preexec_fn=_lift_memory_limit,
    )
    assert done.returncode in RUNNER_CODES, (done.returncode, done.stderr)
    if done.returncode in (0, 5):
        json.loads(done.stdout)
    else:
        assert done.stderr.startswith(b"runner: "), done.stderr
    return f"exit code {done.returncode}"


def _write_plain_entries(path: Path, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            file = folder / info.filename
            if not file.resolve().is_relative_to(folder.resolve()):
                continue
            # A file may be where another needs a folder.
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(info))


def _lift_memory_limit() -> None:
    """The address sanitizer's shadow takes terabytes of addresses."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def write_tar(path: Path) -> dict[str, Any]:
    with tarfile.open(path, "w") as archive:
        for name in OUTPUTS:
            member = tarfile.TarInfo(name)
            member.size = 700
            archive.addfile(member, io.BytesIO(bytes(range(250)) * 3))
    return {}


def damage_tar(whole: bytes, draw: Random, payload: bytes) -> bytes:
    if draw.random() < 0.4:
        return mutate.flipped(whole, draw)
    return mutate.changed_members(whole, draw)


def use_tar(path: Path, options: dict[str, Any]) -> str:
    """Fetch a board's files, where its answer is the damaged stream."""

    class Board(SshDevice):
        def shell(self, script: str, timeout_s: float, data: bytes | None = None) -> Completed:
            return Completed(0, path.read_bytes(), b"")

    folder = path.with_suffix("")
    folder.mkdir()
    Board("ssh://board").pull("/there", OUTPUTS, folder)
    found = list(folder.iterdir())
    assert {file.name for file in found} == set(OUTPUTS)
    assert all(not file.is_symlink() and file.stat().st_size < 1 << 16 for file in found)
    return ""
