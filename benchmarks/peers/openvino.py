"""OpenVINO, CPU plug-in, one stream, in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session


class OpenVino(Peer):
    """Converts the ONNX file to OpenVINO's own form."""

    title = "OpenVINO"
    packages = ("openvino==2026.4.1",)

    def version(self) -> str:
        """Return the installed version."""
        import openvino

        return str(openvino.__version__).split("-", maxsplit=1)[0]

    def convert(self, case: Case, folder: Path) -> None:
        """Read the file and save it, weights in fp32."""
        import openvino

        model = openvino.convert_model(case.onnx)
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Compile the model; inputs are bound."""
        import openvino

        # By default it computes in bfloat16 where the processor can.
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", options)
        inputs = case.golden()[0]
        request = compiled.create_infer_request()
        for name, array in zip(case.inputs, inputs, strict=True):
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        return _Session(request, inputs, case)


class _Session(Session):
    def __init__(self, request: Any, inputs: list[Array], case: Case) -> None:
        self._request, self._inputs, self._case = request, inputs, case

    def run(self) -> None:
        self._request.infer()

    def outputs(self) -> list[Array]:
        self.run()
        return [self._request.get_tensor(name).data.copy() for name in self._case.outputs]
