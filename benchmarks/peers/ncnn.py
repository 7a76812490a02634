"""ncnn in fp32, converted by pnnx."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session

_PARAM = "model.ncnn.param"
_BIN = "model.ncnn.bin"
_MESSAGE_CHARS = 2000


class Ncnn(Peer):
    """Its models have no batch axis, so that only batch 1 can be compared."""

    title = "ncnn"
    packages = (
        "ncnn==1.0.20261020",
        "numpy==2.4.6",
        "portalocker==4.4.2",
        "requests==2.34.2",
        "tqdm==4.70.1",
    )
    bare_packages = ("pnnx==20261020",)  # without PyTorch, which converting ONNX does not need

    def version(self) -> str:
        """Return the installed version."""
        return version("ncnn")

    def convert(self, case: Case, folder: Path) -> None:
        """Run pnnx on the ONNX file; raises ValueError where ncnn lacks what comes out."""
        shutil.copy(case.onnx, folder)
        program = str(distribution("pnnx").locate_file("pnnx/pnnx"))
        messages = _run([program, case.onnx.name, "fp16=0"], folder)
        kept = {_PARAM, _BIN}
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()
        if not kept <= {path.name for path in folder.iterdir()}:
            raise ValueError(f"pnnx wrote no model: {messages}")
        # In a process of its own: only its messages name the layers that ncnn lacks.
        _run(
            [sys.executable, "-c", f"import ncnn; exit(ncnn.Net().load_param('{_PARAM}'))"], folder
        )

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Load param and bin."""
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        if net.load_param(str(folder / _PARAM)) != 0:
            raise ValueError("ncnn cannot load the param file")
        if net.load_model(str(folder / _BIN)) != 0:
            raise ValueError("ncnn cannot load the weights")
        return _Session(net, case)


class _Session(Session):
    def __init__(self, net: Any, case: Case) -> None:
        import ncnn

        self._net = net
        inputs, self._expected = case.golden()
        if any(len(array) != 1 for array in inputs):
            raise ValueError("ncnn has no batch axis")
        self._inputs = [ncnn.Mat(np.ascontiguousarray(array[0])).clone() for array in inputs]

    def run(self) -> None:
        self._infer()

    def _infer(self) -> list[Any]:
        extractor = self._net.create_extractor()
        for i, mat in enumerate(self._inputs):
            extractor.input(f"in{i}", mat)
        mats = []
        for i in range(len(self._expected)):
            code, mat = extractor.extract(f"out{i}")
            if code != 0:
                raise ValueError(f"ncnn cannot compute out{i}: code {code}")
            mats.append(mat)
        return mats

    def outputs(self) -> list[Array]:
        return [
            np.array(mat).reshape(want.shape)
            for mat, want in zip(self._infer(), self._expected, strict=True)
        ]


def _run(command: list[str], folder: Path) -> str:
    """Run a program in a folder and return what it wrote; raises ValueError where it fails."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    messages = (done.stdout + done.stderr).strip()[-_MESSAGE_CHARS:]
    if done.returncode != 0:
        name = Path(command[0]).name
        raise ValueError(f"{name} ended with exit code {done.returncode}: {messages}")
    return messages
