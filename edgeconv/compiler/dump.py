"""`--dump`: every stage's result as files in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.files import write_atomic
from edgeconv.plan import Plan

if TYPE_CHECKING:
    import onnx
    import tvm

    from edgeconv.compiler.codegen import Kernel


class Dump:
    """Writes what it is handed into a folder, or nowhere."""

    def __init__(self, folder: Path | None) -> None:
        """Write into `folder`; None for nowhere."""
        self._folder = folder
        self._stages = 0

    def onnx(self, model: onnx.ModelProto) -> None:
        """Write `model.onnx`."""
        if self._folder is not None:
            from edgeconv.exporter import model_bytes

            self._write("model.onnx", model_bytes(model))

    def relax(self, stage: str, module: tvm.IRModule) -> None:
        """Write a Relax module after a stage, as `NN_STAGE.relax.py`."""
        if self._folder is not None:
            name = f"{self._stages:02d}_{stage}.relax.py"
            self._write(name, module.script().encode())
            self._stages += 1

    def kernels(self, kernels: Mapping[str, Kernel]) -> None:
        """Write scheduled TIR of each kernel into `kernels/`, and assembly and object or source."""
        if self._folder is not None:
            for name, kernel in kernels.items():
                self._write(f"kernels/{name}.tir.py", kernel.tir.encode())
                if kernel.source:
                    self._write(f"kernels/{name}.cl", kernel.source.encode())
                else:
                    self._write(f"kernels/{name}.s", kernel.assembly.encode())
                    self._write(f"kernels/{name}.o", kernel.object_file)

    def plan(self, plan: Plan) -> None:
        """Write `plan.json`."""
        if self._folder is not None:
            self._write("plan.json", json.dumps(plan.to_json(), indent=1).encode())

    def _write(self, name: str, data: bytes) -> None:
        assert self._folder is not None
        write_atomic(self._folder / name, data)
