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
        """Read the file and save it, weights in fp32.

        Its ONNX reader lacks DeformConv, and its own operators have it: they are joined here.
        """
        import openvino
        from openvino.frontend.onnx import ConversionExtension

        # Not `convert_model`, which reports home from a forked process that may hang.
        core = openvino.Core()
        core.add_extension(ConversionExtension("DeformConv", _deformable))
        model = core.read_model(case.onnx)
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


def _deformable(node: Any) -> Any:
    """Return the outputs of OpenVINO's operator for a node DeformConv of ONNX."""
    from openvino import opset8

    pads = list(node.get_attribute("pads", [0, 0, 0, 0]))
    given = {i: node.get_input(i) for i in range(node.get_input_size())}
    y = opset8.deformable_convolution(
        given[0],
        given[2],
        given[1],
        list(node.get_attribute("strides", [1, 1])),
        pads[:2],
        pads[2:],
        list(node.get_attribute("dilations", [1, 1])),
        *([given[4]] if 4 in given else []),
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,  # zeros around the input, as ONNX has it
    )
    bias = given.get(3)
    if bias is not None and bias.get_node().get_type_name() != "NullNode":
        y = opset8.add(y, opset8.reshape(bias, [1, -1, 1, 1], False))
    return y.outputs()
