"""An artifact on a device: running it, testing it, timing it through its runner."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeconv.artifact import Array, Arrays, Artifact, decode_tensor, encode_tensor
from edgeconv.devices.base import Completed, Device
from edgeconv.devices.report import RunnerReport, SelfTest, parse_report
from edgeconv.errors import ArtifactError, DeviceError, UsageError
from edgeconv.files import hold
from edgeconv.plan import Buffer, Plan, Space, Tensor

_SELF_TEST_FAILED = 5
_MEANING = {2: "it was called wrongly", 3: "it could not load the model", 4: "a step failed"}


class Session:
    """One artifact on one device; files are sent when they are first needed.

    `threads` is the manifest's number where it is None.

    Methods raise DeviceError where the device or the runner fails, naming device, command, the
    runner's message and what to do.
    """

    def __init__(self, artifact: Artifact, device: Device) -> None:
        """Join the two; raises ArtifactError where the artifact has no runner."""
        artifact = device.adapt(artifact)
        if "runner" not in artifact.entries:
            raise ArtifactError(
                f"the artifact holds no runner (emit {artifact.manifest.emit!r}), so no device "
                "can run it by itself: compile with `--emit bundle`."
            )
        self.artifact = artifact
        self.device = device
        self._folder = ""

    def run(self, inputs: Mapping[str, Array], threads: int | None = None) -> Arrays:
        """Run once and return the outputs by name, with the manifest's shapes and dtypes.

        Raises UsageError, before anything is sent, where a name, dtype or shape is not the
        manifest's.
        """
        arrays = check_inputs(inputs, self.artifact.manifest.inputs)
        outputs = self.artifact.manifest.outputs
        names = [f"output_{i}.bin" for i in range(len(outputs))]
        with self._workspace(arrays) as (local, remote):
            self._call(
                *self._input_options(remote),
                *_pairs("--output", remote, names),
                threads=threads,
            )
            self.device.pull(remote, names, local)
            return {
                tensor.name: self._read(local / name, tensor)
                for tensor, name in zip(outputs, names, strict=True)
            }

    def step_values(self, inputs: Mapping[str, Array]) -> dict[tuple[int, int], Array]:
        """Run once and return every step's results by (step, result), shaped as in memory.

        Joined tensors and slices have what steps have written into their memory, by the plan.

        Raises UsageError as `run`.
        """
        arrays = check_inputs(inputs, self.artifact.manifest.inputs)
        plan = self.artifact.plan
        buffers = {
            (i, j): plan.buffers[index]
            for i, step in enumerate(plan.steps)
            for j, index in enumerate(step.outputs)
        }
        with self._workspace(arrays) as (local, remote):
            self._call(*self._input_options(remote), "--dump-steps", remote)
            self.device.pull(remote, [f"{i}_{j}.bin" for i, j in buffers], local)
            outputs = {
                (i, j): self._read(
                    local / f"{i}_{j}.bin",
                    Tensor(f"{plan.steps[i].name}[{j}]", buffer.memory_shape, buffer.dtype),
                )[buffer.box]
                for (i, j), buffer in buffers.items()
            }
        return outputs | _in_place(plan, outputs)

    def self_test(self) -> SelfTest:
        """Return what the runner finds by comparing with the golden outputs on the device."""
        report = self._call("--self-test")
        if report.self_test is None:
            raise DeviceError(f"{self.device.name}: the runner reported no self-test.")
        return report.self_test

    def bench(self, threads: int | None = None, warmup: int = 3, repeat: int = 20) -> RunnerReport:
        """Return the times of `repeat` runs after `warmup` runs, in one process."""
        return self._call(*_times(warmup, repeat), threads=threads)

    def profile(
        self, threads: int | None = None, warmup: int = 3, repeat: int = 20
    ) -> RunnerReport:
        """Return the times of `repeat` runs and of their steps."""
        return self._call("--profile", *_times(warmup, repeat), threads=threads)

    def _input_options(self, remote: str) -> list[str]:
        count = len(self.artifact.manifest.inputs)
        return _pairs("--input", remote, [f"input_{i}.bin" for i in range(count)])

    @contextmanager
    def _workspace(self, arrays: Sequence[Array]) -> Iterator[tuple[Path, str]]:
        """Yield a folder with the inputs: its path here and on the device."""
        with tempfile.TemporaryDirectory(prefix="edgeconv-") as name:
            local = Path(name)
            for i, array in enumerate(arrays):
                (local / f"input_{i}.bin").write_bytes(encode_tensor(array))
            remote = self.device.push(local)
            try:
                yield local, remote
            finally:
                self.device.remove(remote)

    def _call(self, *options: str, threads: int | None = None) -> RunnerReport:
        threads = self.artifact.manifest.threads if threads is None else threads
        if threads < 1:
            raise UsageError(f"threads: expected 1 or more, found {threads}.")
        if not self._folder:
            unpacked = self.artifact.unpack()
            hold(unpacked, self)
            self._folder = self.device.push(unpacked)
        argv = (f"{self._folder}/runner", self._folder, "--threads", str(threads), *options)
        done = self.device.execute(argv)
        if done.code not in (0, _SELF_TEST_FAILED):
            raise DeviceError(self._explain(argv, done))
        try:
            return parse_report(done.stdout)
        except ValueError as error:
            text = done.stdout.decode("utf-8", "replace")[:200]
            raise DeviceError(
                f"{self.device.name}: `{' '.join(argv)}` wrote no report ({error}): {text!r}. "
                "Compile the model again with this edgeconv."
            ) from None

    def _explain(self, argv: Sequence[str], done: Completed) -> str:
        number = -done.code if done.code < 0 else done.code - 128
        if number > 0 and number in set(signal.Signals):
            reason = f"was ended by {signal.Signals(number).name}{self._signal_advice(number)}"
        else:
            meaning = _MEANING.get(done.code, "see its message")
            reason = f"ended with exit code {done.code} ({meaning})"
        message = f": {done.message}" if done.message else ""
        return (
            f"{self.device.name} ({self.device.description}): the runner {reason}{message}. "
            f"The command: `{' '.join(argv)}`"
        )

    def _signal_advice(self, number: int) -> str:
        target = self.artifact.manifest.target
        return {
            signal.SIGILL: (
                f": the processor lacks an instruction of target {target.name!r} "
                f"({target.llvm.cpu}); compile for this board's processor (`edgeconv targets`)"
            ),
            signal.SIGKILL: ": perhaps the device ran out of memory",
            signal.SIGBUS: ": perhaps a file was changed or the disk is full",
            signal.SIGSEGV: ": a fault of the compiled code or the runtime; please report it",
        }.get(signal.Signals(number), "")

    def _read(self, path: Path, tensor: Tensor) -> Array:
        try:
            return decode_tensor(path.read_bytes(), tensor)
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"{self.device.name}: the runner wrote no proper {tensor.name!r} "
                f"({tensor.dtype} {tensor.shape}): {error}"
            ) from None


def _in_place(plan: Plan, outputs: Mapping[tuple[int, int], Array]) -> dict[tuple[int, int], Array]:
    """Return what is in place by (step, result): what steps have written where it lies."""
    arena = np.zeros(plan.arena_bytes, np.uint8)
    found = {}
    for i, step in enumerate(plan.steps):
        for j, index in enumerate(step.outputs):
            if plan.buffers[index].space is Space.ARENA:
                _in_arena(plan.buffers[index], arena)[...] = outputs[i, j]
        for j, index in enumerate(step.in_place, len(step.outputs)):
            found[i, j] = _in_arena(plan.buffers[index], arena).copy()
    return found


def _in_arena(buffer: Buffer, arena: Array) -> Array:
    """Return the part of the arena that a tensor is."""
    memory = arena[buffer.offset : buffer.offset + buffer.bytes].view(buffer.dtype)
    part: Array = memory.reshape(buffer.memory_shape)[buffer.box]
    return part


def check_inputs(inputs: Mapping[str, Array], tensors: Sequence[Tensor]) -> list[Array]:
    """Return the arrays in the tensors' order.

    Raises UsageError where a name is missing or unknown, or a dtype or shape is another.
    """
    expected = {tensor.name: tensor for tensor in tensors}
    listing = ", ".join(f"{t.name!r} {t.dtype} {list(t.shape)}" for t in tensors)
    for name in inputs:
        if name not in expected:
            raise UsageError(f"the model has no input {name!r}; it has {listing}.")
    arrays = []
    for name, tensor in expected.items():
        if name not in inputs:
            raise UsageError(f"input {name!r} is missing; the model takes {listing}.")
        array = np.asarray(inputs[name])
        if array.dtype != np.dtype(tensor.dtype) or array.shape != tensor.shape:
            raise UsageError(
                f"input {name!r}: expected {tensor.dtype} {list(tensor.shape)}, "
                f"found {array.dtype} {list(array.shape)}."
            )
        arrays.append(array)
    return arrays


def _pairs(option: str, remote: str, names: Sequence[str]) -> list[str]:
    return [word for i, name in enumerate(names) for word in (option, f"{i}={remote}/{name}")]


def _times(warmup: int, repeat: int) -> list[str]:
    if warmup < 0 or repeat < 1:
        raise UsageError(f"expected warmup >= 0 and repeat >= 1, found {warmup} and {repeat}.")
    return ["--warmup", str(warmup), "--repeat", str(repeat)]
