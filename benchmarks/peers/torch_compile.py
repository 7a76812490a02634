"""torch.compile: PyTorch's Inductor, with frozen weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session


class TorchCompile(Peer):
    """Compiles the module with the C++ compiler of the system, in edgeconv's own environment."""

    title = "torch.compile"

    def version(self) -> str:
        """Return the installed version."""
        import torch

        return str(torch.__version__)

    def convert(self, case: Case, folder: Path) -> None:
        """Fill the cache of compiled kernels."""
        self.load(case, folder, threads=1).run()

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Compile, or take the kernels from the cache."""
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.absolute())
        import torch
        import torch._inductor.config

        torch._inductor.config.freezing = True
        torch.set_num_threads(threads)
        module, inputs = case.module()
        return _Session(torch.compile(module), inputs)


class _Session(Session):
    def __init__(self, module: Any, inputs: tuple[Any, ...]) -> None:
        self._module, self._inputs = module, inputs

    def run(self) -> None:
        self._infer()

    def _infer(self) -> Any:
        import torch

        with torch.no_grad():
            return self._module(*self._inputs)

    def outputs(self) -> list[Array]:
        found = self._infer()
        return [tensor.numpy() for tensor in (found if isinstance(found, tuple) else (found,))]
