"""Makes cases: exports and compiles networks and layers, and keeps what came out.

`python -m benchmarks.prepare SOURCE FOLDER TARGET cold|warm` makes one, in a process of its own,
so that compiling is timed from a fresh start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.case import Case, build
from edgeconv.files import cache_dir

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
_SOURCES = ("edgeconv/**/*", "models/**/*", "targets/*.toml", "benchmarks/layers.py")


def sources(only: str, *, tiny: bool, networks: bool, layers: bool) -> list[str]:
    """Return the sources of the zoo's networks and of the layers whose names fit a pattern.

    `tiny` takes the networks' variants that compile in seconds instead of the default sizes.
    """
    from benchmarks.layers import LAYERS
    from edgeconv.zoo import list_models

    found = []
    if networks:
        found += [
            f"zoo:{name}/{variant}"
            for name, model in list_models().items()
            for variant in model.variants
            if (variant == "tiny") == tiny
        ]
    if layers:
        found += [f"layer:{layer.name}" for layer in LAYERS]
    return [source for source in found if fnmatch(case_name(source), only)]


def case_name(source: str) -> str:
    """Return a short name, fit for a file."""
    name = source.split(":", 1)[1]
    return name.removesuffix("/full").replace("/", "-")


def prepare(source: str, target: str = "host", *, cold: bool = False) -> Case:
    """Return the case, made anew where the compiler or the source changed since the last time.

    `cold` compiles with an empty cache of kernels. Raises RuntimeError with the compiler's message
    where the case cannot be made.
    """
    folder = BUILD / "cases" / target / case_name(source)
    with suppress(OSError):
        case = Case.load(folder)
        if case.key == _key() and (case.compiled_cold or not cold):
            return case
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.prepare", source, str(folder), target]
    with _environment(cold=cold) as environment:
        done = subprocess.run(
            [*command, "cold" if cold else "warm"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            check=False,
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it wrote no message"]
        raise RuntimeError(f"{source}: compiling failed: {lines[-1]}")
    return Case.load(folder)


def _make(source: str, folder: Path, target: str, *, cold: bool) -> None:
    """Compile, and write the case into `folder`."""
    import onnx
    from onnx import inliner

    import edgeconv
    from edgeconv.verify import exported_model

    kind = source.split(":", 1)[0]
    module = build(source)
    examples = None
    family = "network"
    if kind == "layer":
        from benchmarks.layers import LAYERS, example_inputs

        layer = next(layer for layer in LAYERS if f"layer:{layer.name}" == source)
        examples, family = example_inputs(layer.shapes), layer.family
    started = perf_counter()
    artifact = edgeconv.compile(module if kind == "layer" else source, examples, target=target)
    seconds = perf_counter() - started
    artifact.save(folder / "model.edge")
    onnx.save(inliner.inline_local_functions(exported_model(artifact)), folder / "model.onnx")
    inputs, outputs = artifact.golden_cases()[0]
    arrays = {f"input_{i}": array for i, array in enumerate(inputs.values())}
    arrays |= {f"output_{i}": array for i, array in enumerate(outputs.values())}
    np.savez(folder / "golden.npz", allow_pickle=False, **arrays)
    manifest = artifact.manifest
    Case(
        name=case_name(source),
        source=source,
        family=family,
        macs=manifest.model.macs,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        tolerances=tuple(tensor.tolerance for tensor in manifest.outputs),
        compile_s=seconds,
        compiled_cold=cold,
        key=_key(),
        folder=folder,
    ).save()


@cache
def _key() -> str:
    """Return a digest of everything that the artifacts are made from."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in ROOT.glob(pattern)):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _environment(*, cold: bool) -> Iterator[dict[str, str]]:
    """Yield the compiler's environment; `cold` gives it an empty cache of kernels.

    The C runtime's objects and zig's C library, made once on a machine, stay.
    """
    if not cold:
        yield dict(os.environ)
        return
    runtime = cache_dir("runtime")
    usual = runtime.parents[1]
    runtime.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "edgeconv").mkdir()
        (Path(name) / "edgeconv" / "runtime").symlink_to(runtime)
        zig = os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(usual / "zig"))
        yield {**os.environ, "XDG_CACHE_HOME": name, "ZIG_GLOBAL_CACHE_DIR": zig}


if __name__ == "__main__":
    _make(sys.argv[1], Path(sys.argv[2]), sys.argv[3], cold=sys.argv[4] == "cold")
