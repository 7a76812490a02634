"""What schedule rules need to know of a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeconv.compiler.schedules.machine import Machine
from edgeconv.target import Gpu, Target

# Cycles from a multiply-accumulate to the next one that takes its result: of Adreno as Mesa has it
# (src/freedreno/ir3/ir3_delay.c), of VideoCore those in which a QPU's 4 lanes compute a wave.
LATENCY = 4


@dataclass(frozen=True)
class GpuMachine:
    """A GPU as the schedules see it.

    Attributes:
        wave: work-items that run in lockstep.
        max_workgroup: most work-items of a work-group.
        local_bytes: fast local memory of a work-group; 0 for none.
        registers: 32-bit registers that a work-item may use.
        compute_units: shader cores.
        fma_lanes_per_cycle: multiply-accumulates that a core starts in a cycle.
        macs_per_byte: multiply-accumulates in the time in which memory delivers a byte.
        image_texels: most texels of an image that kernels read an operand through; 0 for none.
        cpu: the core that computes what the GPU cannot.
    """

    wave: int
    max_workgroup: int
    local_bytes: int
    registers: int
    compute_units: int
    fma_lanes_per_cycle: int
    macs_per_byte: int
    image_texels: int
    cpu: Machine

    # Channels of a block, and elements that a work-item reads and writes at once.
    lanes: ClassVar[int] = 4

    @property
    def busy(self) -> int:
        """Work-items that keep it busy.

        A lane needs one for every cycle until it can use a result, a core one wave that computes
        while another waits for memory.
        """
        each = max(LATENCY * self.fma_lanes_per_cycle, 2 * self.wave)
        return self.compute_units * each

    @staticmethod
    def of(target: Target, gpu: Gpu) -> GpuMachine:
        """Return the model of `target`'s GPU."""
        return GpuMachine(
            wave=gpu.wave,
            max_workgroup=gpu.max_workgroup,
            local_bytes=gpu.local_kib * 1024,
            registers=gpu.registers,
            compute_units=gpu.compute_units,
            fma_lanes_per_cycle=gpu.fma_lanes_per_cycle,
            macs_per_byte=gpu.macs_per_byte,
            image_texels=gpu.image_texels,
            cpu=Machine.of(target),
        )


AnyMachine = Machine | GpuMachine


def machine_of(target: Target) -> AnyMachine:
    """Return what computes a network on `target`: its GPU, where it has one."""
    if target.gpu is None:
        return Machine.of(target)
    return GpuMachine.of(target, target.gpu)
