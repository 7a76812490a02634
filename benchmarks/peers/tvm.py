"""TVM as it comes: its ONNX importer and default pipeline, without tuning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session


class Tvm(Peer):
    """Builds with TVM's own lowering, in edgeconv's own environment."""

    title = "TVM, untuned"

    def version(self) -> str:
        """Return the installed version."""
        import tvm

        return str(tvm.__version__)

    def convert(self, case: Case, folder: Path) -> None:
        """Import the ONNX file, build, write a shared library."""
        import onnx
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        from edgeconv.target import load_target

        llvm = load_target("host").llvm
        target = tvm.target.Target(
            {"kind": "llvm", "mtriple": llvm.triple, "mcpu": llvm.cpu, "mattr": list(llvm.features)}
        )
        module = from_onnx(onnx.load(case.onnx), keep_params_in_input=False)
        with target:
            built = relax.build(relax.get_pipeline("zero")(module), target)
        built.export_library(str(folder / "model.so"))

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Load the library in the virtual machine."""
        os.environ["TVM_NUM_THREADS"] = str(threads)
        import tvm
        from tvm import relax

        library = tvm.runtime.load_module(str(folder / "model.so"))
        machine = relax.VirtualMachine(library, tvm.cpu())
        return _Session(machine["main"], [tvm.runtime.tensor(x) for x in case.golden()[0]])


class _Session(Session):
    def __init__(self, main: Any, inputs: list[Any]) -> None:
        self._main, self._inputs = main, inputs

    def run(self) -> None:
        self._main(*self._inputs)

    def outputs(self) -> list[Array]:
        found = self._main(*self._inputs)
        return [tensor.numpy() for tensor in ([found] if hasattr(found, "numpy") else found)]
