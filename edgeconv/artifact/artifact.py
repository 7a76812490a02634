"""An artifact in memory: manifest, plan and entries; saving, loading, unpacking, golden cases."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.artifact.bundle import file_mode, load_bundle, save_bundle
from edgeconv.artifact.manifest import (
    SCHEMA,
    File,
    Manifest,
    Memory,
    Model,
    load_json,
    parse_manifest,
)
from edgeconv.artifact.plan_check import check_plan
from edgeconv.artifact.tensors import Array, Arrays, decode_tensor, weights_data_bytes
from edgeconv.errors import ArtifactError, UsageError
from edgeconv.files import (
    cache_dir,
    count_as_used,
    trim_at_times,
    write_atomic,
    write_new_folder,
)
from edgeconv.plan import Backend, Plan, Tensor
from edgeconv.precision import Precision
from edgeconv.strict import MismatchError, read
from edgeconv.target import Target

# Entries of a GPU's artifact: the sources of all kernels, one after the other; and of those that
# the CPU computes, TVM's JSON of the unscheduled functions by symbol.
OPENCL_SOURCES = "kernels.cl"
CPU_FUNCTIONS = "cpu_kernels.json"
# How much the cache of unpacked artifacts may take.
UNPACKED_BYTES = 4 << 30

if TYPE_CHECKING:
    from edgeconv.bench import BenchReport
    from edgeconv.verify import VerifyReport


@dataclass(frozen=True)
class Artifact:
    """A compiled network.

    Attributes:
        manifest: what it is.
        plan: the steps that a run takes.
        entries: the bytes of every entry but `manifest.json`, by name.
    """

    manifest: Manifest
    plan: Plan
    entries: Mapping[str, bytes]

    @staticmethod
    def assemble(
        *,
        plan: Plan,
        entries: Mapping[str, bytes],
        model: Model,
        target: Target,
        tools: Mapping[str, str],
        golden: Sequence[str],
        threads: int = 1,
        preprocessing: Mapping[str, object] | None = None,
        emit: str = "bundle",
        precision: Precision = Precision.FP32,
    ) -> Artifact:
        """Make an artifact of its parts.

        `entries` holds `weights.bin`, the golden tensors (`golden_entries`) and what was linked;
        `plan.json` and the manifest are made here. Raises ArtifactError where the parts do not
        fit together.
        """
        entries = {**entries, "plan.json": _plan_bytes(plan)}
        manifest = Manifest(
            schema=SCHEMA,
            edgeconv=_version(),
            model=model,
            target=target,
            tools=dict(sorted(tools.items())),
            inputs=plan.inputs,
            outputs=plan.outputs,
            memory=Memory(
                weights_bytes=plan.weights_bytes,
                arena_bytes=plan.arena_bytes,
                arena_lower_bound_bytes=plan.arena_lower_bound,
                scratch_bytes=plan.scratch_bytes,
            ),
            threads=threads,
            precision=precision,
            preprocessing=dict(preprocessing) if preprocessing is not None else None,
            golden=tuple(golden),
            emit=emit,
            files={name: _describe(data) for name, data in sorted(entries.items())},
        )
        return _checked(manifest.to_bytes(), entries)

    @staticmethod
    def load(path: str | Path) -> Artifact:
        """Read an `.edge` file; every byte is checked before anything is used.

        Raises UsageError where the file cannot be opened, ArtifactError where it is damaged, cut
        short, foreign or of a newer schema.
        """
        entries = load_bundle(Path(path))
        manifest = entries.pop("manifest.json", None)
        if manifest is None:
            raise ArtifactError(f"{path}: a zip without manifest.json is not an edgeconv artifact.")
        try:
            return _checked(manifest, entries)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the `.edge` file atomically; raises UsageError where that fails."""
        save_bundle(Path(path), {**self.entries, "manifest.json": self.manifest.to_bytes()})

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds the SHA-256 of everything else."""
        return hashlib.sha256(self.manifest.to_bytes()).hexdigest()

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by index; empty where the model has none."""
        text = self.entries.get("labels.txt", b"").decode("utf-8", "replace")
        return tuple(text.splitlines())

    def unpack(self, folder: str | Path | None = None) -> Path:
        """Write the entries into `folder` and return it; default: a cache folder of their own.

        A folder that already holds this artifact is left as it is, damaged files in it are
        written again. The cache keeps 4 GiB: what was not used for an hour may be deleted when
        others are unpacked, unless `files.hold` keeps it. Raises UsageError where `folder` holds
        something else.
        """
        path = Path(folder) if folder else cache_dir("artifacts") / self.digest
        contents = {**self.entries, "manifest.json": self.manifest.to_bytes()}
        try:
            if not path.exists():
                write_new_folder(path, contents, file_mode)
            elif any(path.iterdir()) and not (path / "manifest.json").is_file():
                raise UsageError(f"{path}: holds files that are no artifact; give a new folder.")
            for name, data in contents.items():
                _ensure(path / name, data, file_mode(name))
        except OSError as error:
            raise UsageError(f"{path}: cannot unpack there: {error.strerror}") from error
        if not folder:
            count_as_used(path)
            trim_at_times(path.parent, UNPACKED_BYTES)
        return path

    def with_entry(self, name: str, data: bytes) -> Artifact:
        """Return the same artifact with one entry added or replaced."""
        files = {**self.manifest.files, name: _describe(data)}
        manifest = replace(self.manifest, files=files)
        return Artifact(manifest, self.plan, {**self.entries, name: data})

    def golden_cases(self) -> list[tuple[Arrays, Arrays]]:
        """Return inputs and outputs, arrays by name, of every golden case."""

        def arrays(case: int, side: str, tensors: tuple[Tensor, ...]) -> Arrays:
            return {
                tensor.name: decode_tensor(self.entries[f"golden/{case}/{side}_{i}.bin"], tensor)
                for i, tensor in enumerate(tensors)
            }

        return [
            (
                arrays(case, "input", self.manifest.inputs),
                arrays(case, "output", self.manifest.outputs),
            )
            for case in range(len(self.manifest.golden))
        ]

    def run(self, inputs: Mapping[str, Array], device: str | None = None) -> Arrays:
        """Run once on a device and return the outputs by name; see `devices.Session.run`."""
        from edgeconv.devices import open_session

        return open_session(self, device).run(inputs)

    def verify(self, device: str | None = None, **options: Any) -> VerifyReport:
        """Compare the device's outputs with the reference; see `edgeconv.verify.verify`."""
        from edgeconv.verify import verify

        return verify(self, device=device, **options)

    def bench(self, device: str | None = None, **options: Any) -> BenchReport:
        """Measure run times on a device; see `edgeconv.bench.bench`."""
        from edgeconv.bench import bench

        return bench(self, device=device, **options)


def _plan_bytes(plan: Plan) -> bytes:
    return (json.dumps(plan.to_json(), indent=1, sort_keys=True) + "\n").encode()


def _describe(data: bytes) -> File:
    return File(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _ensure(path: Path, data: bytes, mode: int) -> None:
    if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
        write_atomic(path, data, mode)


@functools.cache
def _version() -> str:
    try:
        return metadata.version("edgeconv")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from a checkout that is not installed


def _checked(manifest_text: bytes, entries: Mapping[str, bytes]) -> Artifact:
    """Return the artifact of these bytes, or raise ArtifactError: the one way to make one."""
    manifest = parse_manifest(manifest_text)
    _check_hashes(manifest, entries)
    plan = _read_plan(entries)
    if (plan.inputs, plan.outputs) != (manifest.inputs, manifest.outputs):
        raise ArtifactError("plan.json: its inputs and outputs are not the manifest's.")
    check_plan(plan)
    _check_kernels(manifest, plan, entries)
    stated = manifest.memory
    if (plan.weights_bytes, plan.arena_bytes) != (stated.weights_bytes, stated.arena_bytes):
        raise ArtifactError("plan.json: its memory sizes are not the manifest's.")
    if weights_data_bytes(entries["weights.bin"]) != plan.weights_bytes:
        raise ArtifactError("weights.bin: its header does not fit the plan.")
    _check_golden(manifest, entries)
    return Artifact(manifest, plan, dict(entries))


def _check_hashes(manifest: Manifest, entries: Mapping[str, bytes]) -> None:
    wanted = {"plan.json", "weights.bin", *manifest.files}
    for name in sorted(wanted | set(entries)):
        if name not in entries:
            raise ArtifactError(f"{name}: missing. The artifact is damaged: copy it again.")
        if name not in manifest.files:
            raise ArtifactError(f"{name}: the manifest does not know it; not edgeconv's artifact.")
        if _describe(entries[name]) != manifest.files[name]:
            raise ArtifactError(
                f"{name}: its SHA-256 or size is not the manifest's. The artifact was changed or "
                "damaged: copy it again, or compile the model again."
            )


def _read_plan(entries: Mapping[str, bytes]) -> Plan:
    try:
        plan = read(Plan, load_json(entries["plan.json"], "plan.json"))
    except MismatchError as error:
        raise ArtifactError(f"plan.json: {error}. Compile the model again.") from None
    return plan


def _check_kernels(manifest: Manifest, plan: Plan, entries: Mapping[str, bytes]) -> None:
    """Refuse a GPU's artifact that lacks what its kernels can be built of."""
    if manifest.target.gpu is None:
        if any(step.backend is not Backend.CPU for step in plan.steps):
            raise ArtifactError(f"plan.json: target {manifest.target.name!r} has no GPU.")
        return
    sources = entries.get(OPENCL_SOURCES, b"").decode("utf-8", "replace")
    functions = load_json(entries.get(CPU_FUNCTIONS, b"{}"), CPU_FUNCTIONS)
    try:
        functions = read(dict[str, str], functions)
    except MismatchError as error:
        raise ArtifactError(f"{CPU_FUNCTIONS}: {error}. Compile the model again.") from None
    for step in plan.steps:
        on_cpu = step.backend is Backend.CPU
        if step.kernel not in functions if on_cpu else f" {step.kernel}(" not in sources:
            entry = CPU_FUNCTIONS if on_cpu else OPENCL_SOURCES
            raise ArtifactError(
                f"{entry}: lacks kernel {step.kernel!r} of step {step.name!r}. "
                "Compile the model again."
            )


def _check_golden(manifest: Manifest, entries: Mapping[str, bytes]) -> None:
    for case in range(len(manifest.golden)):
        for side, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
            for i, tensor in enumerate(tensors):
                name = f"golden/{case}/{side}_{i}.bin"
                if name not in entries:
                    raise ArtifactError(f"{name}: missing. The artifact is damaged.")
                try:
                    decode_tensor(entries[name], tensor)
                except ValueError as error:
                    raise ArtifactError(f"{name}: does not fit {tensor.name!r}: {error}") from None
