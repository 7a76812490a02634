"""ONNX Runtime, CPU provider, all graph optimisations."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session


class OnnxRuntime(Peer):
    """Runs the exported file as it is."""

    title = "ONNX Runtime"

    def version(self) -> str:
        """Return the installed version."""
        import onnxruntime

        return str(onnxruntime.__version__)

    def convert(self, case: Case, folder: Path) -> None:
        """Copy the file."""
        shutil.copy(case.onnx, folder)

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Open the file, inputs and outputs bound."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        runtime = onnxruntime.InferenceSession(
            folder / case.onnx.name, options, providers=["CPUExecutionProvider"]
        )
        return _Session(runtime, case)


class _Session(Session):
    def __init__(self, runtime: Any, case: Case) -> None:
        self._runtime = runtime
        self._binding = runtime.io_binding()
        self._inputs = case.golden()[0]
        for name, array in zip(case.inputs, self._inputs, strict=True):
            self._binding.bind_cpu_input(name, array)
        for name in case.outputs:
            self._binding.bind_output(name)

    def run(self) -> None:
        self._runtime.run_with_iobinding(self._binding)

    def outputs(self) -> list[Array]:
        self.run()
        return list(self._binding.copy_outputs_to_cpu())
