"""Runs an artifact in this process, through the C interface of its shared library.

Needs NumPy only, so that a board does not need the compiler.
"""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact, parse_manifest
from edgeconv.errors import ArtifactError, DeviceError, EdgeconvError, UsageError
from edgeconv.plan import Tensor

API_VERSION = 1

# Values of ec_status in edgeconv.h; the others are failures of this device.
_ERRORS: dict[int, type[EdgeconvError]] = {
    1: UsageError,
    2: ArtifactError,
    3: ArtifactError,
    4: ArtifactError,
}


class _Options(ctypes.Structure):
    _fields_ = (("threads", ctypes.c_uint32), ("pin_cores", ctypes.c_uint32))


class _TensorInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_uint32),
        ("element_bytes", ctypes.c_uint32),
        ("bytes", ctypes.c_uint64),
        ("tolerance", ctypes.c_double),
    )


class _ModelInfo(ctypes.Structure):
    _fields_ = (
        ("model", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("input_count", ctypes.c_uint32),
        ("output_count", ctypes.c_uint32),
        ("step_count", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint64),
        ("scratch_bytes", ctypes.c_uint64),
        ("weights_bytes", ctypes.c_uint64),
    )


class _StepInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("family", ctypes.c_char_p),
        ("macs", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
    )


_MODEL = ctypes.c_void_p
_BIND = (ctypes.c_int, (_MODEL, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint64))
_INFO = (ctypes.POINTER(_TensorInfo), (_MODEL, ctypes.c_uint32))

# Result and argument types of what is called here, as in edgeconv.h.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ec_api_version": (ctypes.c_int32, ()),
    "edgeconv_program": (ctypes.c_void_p, ()),
    "ec_open": (
        ctypes.c_int,
        (ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Options), ctypes.POINTER(_MODEL)),
    ),
    "ec_close": (None, (_MODEL,)),
    "ec_last_error": (ctypes.c_char_p, (_MODEL,)),
    "ec_describe": (None, (_MODEL, ctypes.POINTER(_ModelInfo))),
    "ec_device": (ctypes.c_char_p, (_MODEL,)),
    "ec_input_info": _INFO,
    "ec_output_info": _INFO,
    "ec_bind_input": _BIND,
    "ec_bind_output": _BIND,
    "ec_run": (ctypes.c_int, (_MODEL,)),
    "ec_profile": (ctypes.c_int, (_MODEL, ctypes.c_uint32, ctypes.POINTER(_StepInfo))),
}


@dataclass(frozen=True)
class StepTime:
    """One step of the last run; `ms` is 0 before the first run."""

    name: str
    family: str
    macs: int
    ms: float


class Model:
    """A network, ready to run on this machine.

    A lock makes runs of one model from several threads follow each other; different models run at
    the same time. `close`, or leaving a `with` block, ends its threads and frees its memory.

    Attributes:
        inputs, outputs: names, shapes and dtypes.
        name, target: what was compiled, and what for.
        device: the name and driver of the GPU that it runs on; "" for the processor.
    """

    name: str
    target: str
    device: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(self, path: str | Path, threads: int = 1, *, pin_cores: bool = False) -> None:
        """Open an `.edge` file, whose hashes are all checked, or an artifact's folder.

        Of a folder, the library is compared with `manifest.json`, where that is there, and the
        header of the weights with the library. The weights are mapped and not read, so a changed
        number among them is not found: open the `.edge` file where storage is not trusted.

        `pin_cores` pins each thread, the calling one too, to a core, the fastest first.
        Raises UsageError: no such path, no shared library inside, a number of threads out of
        range; ArtifactError: damaged, or not for this machine; DeviceError: no memory, no threads,
        no GPU that fits.
        """
        if not 0 < threads < 2**32:
            raise UsageError(f"threads={threads}: expected 1 or more")
        self._handle: int | None = None
        self._lock = threading.Lock()
        folder = _folder(Path(path))
        self._library = _load(folder)
        try:
            self._handle = self._open(folder, _Options(threads, pin_cores))
        except EdgeconvError:
            _unload(self._library)
            raise
        info = _ModelInfo()
        self._library.ec_describe(self._handle, ctypes.byref(info))
        self.name, self.target = info.model.decode(), info.target.decode()
        self.device = self._library.ec_device(self._handle).decode(errors="replace")
        self._steps: int = info.step_count
        self.inputs = self._tensors(self._library.ec_input_info, info.input_count)
        self.outputs = self._tensors(self._library.ec_output_info, info.output_count)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the network once and return new arrays by output name.

        An input is copied only where its memory is not contiguous or not aligned. Raises
        UsageError: a name, dtype or shape that does not fit, or a closed model; DeviceError: a
        kernel failed.
        """
        arrays = [_input_array(tensor, inputs) for tensor in self.inputs]
        unknown = sorted(set(inputs) - {tensor.name for tensor in self.inputs})
        if unknown:
            known = ", ".join(tensor.name for tensor in self.inputs)
            raise UsageError(f"no input is called {', '.join(unknown)}; the inputs are: {known}")
        results = [np.empty(tensor.shape, tensor.dtype) for tensor in self.outputs]
        with self._lock:
            handle = self._open_handle()
            for index, array in enumerate(arrays):
                bound = self._library.ec_bind_input(handle, index, array.ctypes.data, array.nbytes)
                self._check(bound)
            for index, array in enumerate(results):
                bound = self._library.ec_bind_output(handle, index, array.ctypes.data, array.nbytes)
                self._check(bound)
            self._check(self._library.ec_run(handle))
        return {tensor.name: array for tensor, array in zip(self.outputs, results, strict=True)}

    def profile(self) -> list[StepTime]:
        """Return the steps with their durations in the last run; UsageError when closed."""
        with self._lock:
            handle = self._open_handle()
            return [self._step(handle, index) for index in range(self._steps)]

    def close(self) -> None:
        """End the threads and free the memory; a closed model may be closed again."""
        with self._lock:
            if self._handle is not None:
                self._library.ec_close(self._handle)
                self._handle = None
                _unload(self._library)

    def __enter__(self) -> Model:
        """Return the model itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the model."""
        self.close()

    def __del__(self) -> None:
        """Close a model that was forgotten."""
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _open(self, folder: Path, options: _Options) -> int | None:
        handle = _MODEL()
        program = self._library.edgeconv_program()
        path = os.fsencode(folder)
        self._check(
            self._library.ec_open(program, path, ctypes.byref(options), ctypes.byref(handle))
        )
        return handle.value

    def _open_handle(self) -> int:
        if self._handle is None:
            raise UsageError("the model is closed")
        return self._handle

    def _check(self, status: int) -> None:
        if status != 0:
            message = self._library.ec_last_error(self._handle).decode(errors="replace")
            raise _ERRORS.get(status, DeviceError)(message)

    def _tensors(self, describe: Any, count: int) -> tuple[Tensor, ...]:
        infos = [describe(self._handle, index).contents for index in range(count)]
        return tuple(
            Tensor(
                info.name.decode(),
                tuple(info.shape[: info.rank]),
                info.dtype.decode(),
                info.tolerance,
            )
            for info in infos
        )

    def _step(self, handle: int, index: int) -> StepTime:
        info = _StepInfo()
        self._check(self._library.ec_profile(handle, index, ctypes.byref(info)))
        return StepTime(info.name.decode(), info.family.decode(), info.macs, info.last_ns / 1e6)


def _folder(path: Path) -> Path:
    if path.is_dir():
        _check_library(path)
        return path
    return Artifact.load(path).unpack()


def _check_library(folder: Path) -> None:
    """Compare the library with the manifest, if both are there, before its code runs."""
    library, manifest = folder / "libmodel.so", folder / "manifest.json"
    if not library.is_file() or not manifest.is_file():
        return
    wanted = parse_manifest(manifest.read_bytes()).files.get(library.name)
    if wanted is None or hashlib.sha256(library.read_bytes()).hexdigest() != wanted.sha256:
        raise ArtifactError(
            f"{library}: its SHA-256 is not that of manifest.json. The folder was changed or "
            "damaged: unpack the artifact again."
        )


def _load(folder: Path) -> ctypes.CDLL:
    path = (folder / "libmodel.so").resolve()
    if not path.is_file():
        raise UsageError(f"{folder} holds no libmodel.so; compile with --emit bundle or lib")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be loaded here (was it compiled for another target?): {error}"
        ) from None
    try:
        _declare(library)
    except (AttributeError, ArtifactError) as error:
        _unload(library)
        raise ArtifactError(
            f"{path} does not fit this edgeconv; compile it again: {error}"
        ) from None
    return library


def _declare(library: ctypes.CDLL) -> None:
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    version = library.ec_api_version()
    if version != API_VERSION:
        raise ArtifactError(f"its API version is {version}, not {API_VERSION}")


def _unload(library: ctypes.CDLL) -> None:
    """Let go of the library, so that a newer file at its path is loaded the next time."""
    _ctypes.dlclose(library._handle)


def _input_array(tensor: Tensor, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if tensor.name not in inputs:
        raise UsageError(f"input {tensor.name!r} is missing")
    array = np.asarray(inputs[tensor.name])
    if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
        raise UsageError(
            f"input {tensor.name!r} is {array.dtype} {array.shape}, "
            f"expected {tensor.dtype} {tensor.shape}"
        )
    return np.require(array, requirements=("C", "A"))
