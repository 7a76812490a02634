"""Scheduled TIR with thread bindings to an OpenCL kernel."""

from __future__ import annotations

import json

import tvm
from tvm.ir import transform as ir_transform
from tvm.s_tir import transform as s_tir_transform
from tvm.tirx import transform as tirx_transform

from edgeconv.compiler.codegen.half_sums import HalfSums, sum_in_halves
from edgeconv.compiler.codegen.kernel import Kernel
from edgeconv.compiler.codegen.opencl_c import write_kernel
from edgeconv.compiler.schedules.frames import WITH_RESULT
from edgeconv.compiler.schedules.gpu.common import HALF_SUMS


def compile_opencl(
    scheduled: tvm.IRModule, symbol: str, *, texels: int = 0, listing: bool
) -> Kernel:
    """Compile the one function of `scheduled` into the OpenCL kernel `symbol`.

    Args:
        scheduled: module with the function "main", every loop nest of which is bound to threads.
        symbol: the kernel's name.
        texels: most texels of an image through which a kernel reads an operand; 0 for none.
        listing: whether to return TIR as text.

    Raises:
        GpuRefusalError: for TIR that has no form in OpenCL C 1.2.
    """
    # Sub-group operations are not in OpenCL C 1.2, so that reductions go through local memory.
    target = tvm.target.Target({"kind": "opencl", "host": {"kind": "llvm"}})
    function = scheduled["main"].with_attr("target", target).with_attr("tirx.noalias", True)
    lowered = _lowering()(tvm.IRModule({"main": function}))["main"]
    apart = json.loads(function.attrs.get(WITH_RESULT, "[]"))
    sums = sum_in_halves(lowered) if HALF_SUMS in function.attrs else HalfSums(lowered)
    source = write_kernel(sums.function, symbol, texels=texels, apart=apart, halves=sums.halves)
    return Kernel(
        symbol=symbol,
        source=source.text,
        ndrange=source.ndrange,
        images=source.images,
        half_run=sums.run,
        tir=scheduled.script() if listing else "",
    )


def _lowering() -> ir_transform.Sequential:
    """TVM's passes for GPUs, less those that make vectors, which `opencl_c` does."""
    return ir_transform.Sequential(
        [
            s_tir_transform.CanonicalizeLoop(),
            s_tir_transform.LowerCrossThreadReduction(),
            s_tir_transform.LowerInitBlock(),
            s_tir_transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir_transform.ConvertBlocksToOpaque(),
            s_tir_transform.LiftThreadBinding(),
            s_tir_transform.CompactBufferAllocation(),
            s_tir_transform.UnifyThreadBinding(),
            s_tir_transform.LowerMatchBuffer(),
            s_tir_transform.StmtSimplify(),
            s_tir_transform.LowerOpaqueBlock(),
            tirx_transform.FlattenBuffer(),
            tirx_transform.NarrowDataType(32),
            s_tir_transform.HoistIfThenElse(),
            tirx_transform.UnrollLoop(),
            s_tir_transform.RenormalizeSplitPattern(),
            tirx_transform.StmtSimplify(),
            tirx_transform.RemoveNoOp(),
            tirx_transform.VerifyMemory(),
            s_tir_transform.ThreadSync("shared"),
            s_tir_transform.LowerThreadAllreduce(),
            tirx_transform.StmtSimplify(),
            tirx_transform.LowerIntrin(),
        ]
    )
