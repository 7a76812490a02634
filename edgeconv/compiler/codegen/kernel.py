"""What code generation makes of one function."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.plan import Backend, NDRange


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel: an object for the CPU, or source for the GPU's driver.

    Attributes:
        symbol: the function's name, in C or OpenCL C.
        object_file: ELF relocatable object; empty on the GPU.
        scratch_bytes: workspace that one thread needs in a call; 0 on the GPU.
        source: OpenCL C 1.2 that defines the one kernel `symbol`; empty on the CPU.
        ndrange: the work-items of a launch; None on the CPU.
        images: positions of the operands that are images, see `edgeconv.plan.Step.images`.
        overwritten: position of the operand in whose place the result is written; None for none.
        half_run: terms that are summed in half precision before a sum in single; 0 for none.
        reason: why a GPU target's kernel is for the CPU; empty elsewhere.
        function: that kernel's unscheduled function as TVM's JSON, from which it can be compiled
            for another CPU; empty elsewhere.
        tir: the scheduled function as TVMScript.
        assembly: the generated assembly.
    """

    symbol: str
    object_file: bytes = b""
    scratch_bytes: int = 0
    source: str = ""
    ndrange: NDRange | None = None
    images: tuple[int, ...] = ()
    overwritten: int | None = None
    half_run: int = 0
    reason: str = ""
    function: str = ""
    tir: str = ""
    assembly: str = ""

    @property
    def backend(self) -> Backend:
        """What computes it."""
        return Backend.CPU if self.ndrange is None else Backend.OPENCL
