"""MNN in fp32, converted by its own converter."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session

_MESSAGE_CHARS = 2000


class Mnn(Peer):
    """Runs through the interpreter's sessions."""

    title = "MNN"
    packages = ("MNN==3.6.1", "numpy==2.4.6")

    def version(self) -> str:
        """Return the installed version."""
        return version("MNN")

    def convert(self, case: Case, folder: Path) -> None:
        """Run MNN's converter on the ONNX file.

        Not the program `mnnconvert`: that one installs packages and reports home afterwards.
        """
        model = folder / "model.mnn"
        options = ["-f", "ONNX", "--modelFile", str(case.onnx), "--MNNModel", str(model)]
        script = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
        done = subprocess.run(
            [sys.executable, "-c", script, *options, "--bizCode", "benchmark"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if not model.is_file():
            messages = (done.stdout + done.stderr).strip()[-_MESSAGE_CHARS:]
            raise ValueError(f"the converter ended with exit code {done.returncode}: {messages}")

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Open a session with high precision, which is fp32."""
        import MNN

        interpreter = MNN.Interpreter(str(folder / "model.mnn"))
        config = {"numThread": threads, "backend": "CPU", "precision": "high"}
        return _Session(interpreter, interpreter.createSession(config), case)


class _Session(Session):
    def __init__(self, interpreter: Any, session: Any, case: Case) -> None:
        self._interpreter, self._session, self._case = interpreter, session, case
        self._inputs, self._expected = case.golden()
        self._bind()

    def _bind(self) -> None:
        tensors = self._interpreter.getSessionInputAll(self._session)
        for name, array in zip(self._case.inputs, self._inputs, strict=True):
            tensors[name].copyFrom(_host_tensor(array))

    def run(self) -> None:
        self._interpreter.runSession(self._session)

    def outputs(self) -> list[Array]:
        self._bind()
        self.run()
        tensors = self._interpreter.getSessionOutputAll(self._session)
        arrays = []
        for name, want in zip(self._case.outputs, self._expected, strict=True):
            host = _host_tensor(np.zeros(want.shape, np.float32))
            tensors[name].copyToHostTensor(host)
            arrays.append(np.array(host.getData(), np.float32).reshape(want.shape))
        return arrays


def _host_tensor(array: Array) -> Any:
    import MNN

    kind = MNN.Tensor_DimensionType_Caffe  # NCHW
    return MNN.Tensor(array.shape, MNN.Halide_Type_Float, np.ascontiguousarray(array), kind)
