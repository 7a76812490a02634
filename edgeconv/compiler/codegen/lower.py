"""Scheduled TIR to an object file, with kernels as plain C functions.

The passes are TVM's for CPUs, less its packed-argument wrapper: the plan has fixed every shape, so
a kernel takes bare pointers and needs no checks of its own.
"""

from __future__ import annotations

import tempfile
from math import prod
from pathlib import Path
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import transform as ir_transform
from tvm.s_tir import transform as s_tir_transform
from tvm.tirx import transform as tirx_transform

from edgeconv.compiler.codegen.extrema import propagate_nan
from edgeconv.compiler.codegen.functions import inline_functions
from edgeconv.compiler.codegen.kernel import Kernel
from edgeconv.compiler.codegen.neon import multiply_tiles
from edgeconv.compiler.codegen.prefetch import prefetch_streams
from edgeconv.compiler.codegen.shuffles import shuffle_loads
from edgeconv.compiler.codegen.tails import decide_in_tails
from edgeconv.compiler.codegen.transpose import transpose_tiles
from edgeconv.compiler.schedules.common import with_body
from edgeconv.compiler.schedules.machine import MAX_ACCUMULATOR_BYTES, round_up
from edgeconv.compiler.schedules.overwriting import OVERWRITTEN
from edgeconv.target import Llvm

WORKSPACE_ALIGNMENT = 64


def llvm_target(llvm: Llvm) -> tvm.target.Target:
    """Return TVM's target for `llvm`."""
    description: dict[str, Any] = {
        "kind": "llvm",
        "mtriple": llvm.triple,
        "mcpu": llvm.cpu,
        # The schedules vectorise. LLVM's own loop vectoriser gave wrong code here: a masked index
        # (`i & 7` over 16 iterations) was widened as if it were not masked.
        "cl-opt": ["-vectorize-loops:bool=0"],
    }
    if llvm.features:
        description["mattr"] = list(llvm.features)
    if llvm.float_abi:
        description["mfloat-abi"] = llvm.float_abi
    target = tvm.target.Target(description)
    return target.with_host(target)


def _flattening() -> ir_transform.Sequential:
    return ir_transform.Sequential(
        [
            s_tir_transform.CanonicalizeLoop(),
            s_tir_transform.LowerInitBlock(),
            s_tir_transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir_transform.ConvertBlocksToOpaque(),
            s_tir_transform.CompactBufferAllocation(),
            s_tir_transform.LowerMatchBuffer(),
            s_tir_transform.StmtSimplify(),
            s_tir_transform.LowerOpaqueBlock(),
            tirx_transform.FlattenBuffer(),
            tirx_transform.NarrowDataType(32),
            s_tir_transform.LoopPartition(),
        ]
    )


def _unrolling() -> ir_transform.Sequential:
    return ir_transform.Sequential(
        [
            tirx_transform.VectorizeLoop(True),
            tirx_transform.StorageRewrite(),
            s_tir_transform.HoistIfThenElse(),
            tirx_transform.UnrollLoop(),
            s_tir_transform.RenormalizeSplitPattern(),
            tirx_transform.StmtSimplify(),
            tirx_transform.RemoveNoOp(),
            s_tir_transform.RewriteUnsafeSelect(),
            tirx_transform.VerifyMemory(),
        ]
    )


def _on_cpu(statement: Any) -> Any:
    """Name the device, which workspace calls look up in these attributes; 1 is the CPU."""
    anywhere = tvm.ir.StringImm("default")
    statement = tirx.AttrStmt(anywhere, "device_id", tirx.IntImm("int32", 0), statement)
    return tirx.AttrStmt(anywhere, "device_type", tirx.IntImm("int32", 1), statement)


def _with_functions(assembly: str, statement: Any) -> Any:
    """Let `statement` call functions that are given as LLVM IR."""
    code = tvm.ir.StringImm(assembly)
    return tirx.AttrStmt(tvm.ir.StringImm("default"), "pragma_import_llvm", code, statement)


def _with_bare_pointers(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Turn buffer parameters into pointers, and return 0 at the end."""
    pointers = [
        tirx.Var(f"p{i}", tvm.ir.PointerType(tvm.ir.PrimType(str(buffer.dtype)), "global"))
        for i, buffer in enumerate(function.params)
    ]
    declarations = [
        tirx.DeclBuffer(buffer, data=pointer)
        for buffer, pointer in zip(function.params, pointers, strict=True)
    ]
    success = tirx.stmt.Return(tirx.IntImm("int32", 0))
    body = tirx.SeqStmt([*declarations, function.body, success])
    return tirx.PrimFunc(pointers, body, tvm.ir.PrimType("int32"), function.attrs)


def _bytes(buffer: Any) -> int:
    dtype = tvm.DataType(str(buffer.dtype))
    elements = prod(int(extent) for extent in buffer.shape)
    return int(elements * dtype.bits * dtype.lanes // 8)


class _Allocations:
    """Sends small local buffers to the stack, and adds up the workspace of the others."""

    def __init__(self) -> None:
        self.workspace_bytes = 0

    def place(self, statement: Any) -> Any:
        """Return `statement` with its allocations annotated."""
        if isinstance(statement, tirx.SeqStmt):
            return tirx.SeqStmt([self.place(inner) for inner in statement.seq])
        if isinstance(statement, tirx.For):
            return with_body(statement, self.place(statement.body))
        if isinstance(statement, tirx.AttrStmt):
            body = self.place(statement.body)
            return tirx.AttrStmt(statement.node, statement.attr_key, statement.value, body)
        if isinstance(statement, tirx.IfThenElse):
            other = statement.else_case
            return tirx.IfThenElse(
                statement.condition,
                self.place(statement.then_case),
                None if other is None else self.place(other),
            )
        if isinstance(statement, tirx.AllocBuffer):
            return self._place_buffer(statement)
        return statement

    def _place_buffer(self, statement: Any) -> Any:
        buffer = statement.buffer
        if buffer.scope() == "local" and _bytes(buffer) <= MAX_ACCUMULATOR_BYTES:
            # Keeps TVM from making a workspace call of it.
            return tirx.AllocBuffer(buffer, {"disable_lower_builtin": tirx.IntImm("bool", 1)})
        self.workspace_bytes += round_up(_bytes(buffer), WORKSPACE_ALIGNMENT)
        return statement


def compile_kernel(scheduled: tvm.IRModule, symbol: str, llvm: Llvm, *, listing: bool) -> Kernel:
    """Compile the one function of `scheduled` into an object that exports `symbol`.

    Args:
        scheduled: module with the function "main".
        symbol: the C function's name.
        llvm: the target.
        listing: whether to return TIR and assembly as text.
    """
    target = llvm_target(llvm)
    function = scheduled["main"].with_attr("global_symbol", symbol).with_attr("target", target)
    function = function.with_attr("tirx.noalias", True)
    module = _flattening()(tvm.IRModule({symbol: function}))
    function, tiles = multiply_tiles(decide_in_tails(transpose_tiles(module[symbol])))
    module = _unrolling()(tvm.IRModule({symbol: function}))
    function = shuffle_loads(propagate_nan(module[symbol], llvm.triple))
    function = inline_functions(function)
    function = prefetch_streams(function)
    allocations = _Allocations()
    body = _on_cpu(allocations.place(function.body))
    function = function.with_body(_with_functions(tiles, body) if tiles else body)
    # Before the return is appended: workspace is freed at the end of the body.
    function = tirx_transform.LowerTVMBuiltin()(tvm.IRModule({symbol: function}))[symbol]
    module = tvm.IRModule({symbol: _with_bare_pointers(function)})
    module = tirx_transform.LowerIntrin()(module)
    library = tvm.get_global_func("target.build.llvm")(module, target)
    return Kernel(
        symbol=symbol,
        object_file=_object_bytes(library),
        scratch_bytes=allocations.workspace_bytes,
        overwritten=scheduled["main"].attrs.get(OVERWRITTEN),
        tir=scheduled.script() if listing else "",
        assembly=str(library.inspect_source("asm")) if listing else "",
    )


def _object_bytes(library: tvm.runtime.Module) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.o"
        library.write_to_file(str(path))
        return path.read_bytes()
