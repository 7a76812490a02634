"""Compiles a network as TVM does untuned: plain layouts, fused operators, schedules of dlight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import tvm
from tvm.s_tir import dlight

from edgeconv.compiler import pipeline
from edgeconv.compiler.codegen import Kernel
from edgeconv.compiler.codegen.opencl import compile_opencl
from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes import fold_scale_shift, fuse, legalize, own_outputs, split_kernels
from edgeconv.compiler.schedules.common import narrowed
from edgeconv.target import Target


@contextmanager
def dlight_schedules() -> Iterator[None]:
    """Compile so within the context; the code of the kernels is still written by edgeconv."""
    with (
        patch.object(pipeline, "passes", _passes),
        patch.object(pipeline, "compile_kernels", _kernels),
    ):
        yield


def _passes(target: Target, *_: object, **__: object) -> list[Callable[[Graph], Graph]]:
    return [fold_scale_shift, own_outputs, legalize, fuse, split_kernels]


def _kernels(
    functions: Mapping[str, tvm.tirx.PrimFunc], target: Target, **options: Any
) -> dict[str, Kernel]:
    kernels: dict[str, Kernel] = {}
    for number, (name, function) in enumerate(functions.items()):
        kernels[name] = compile_opencl(_scheduled(function), f"dlight_{number}", listing=False)
    return kernels


def _scheduled(function: tvm.tirx.PrimFunc) -> tvm.IRModule:
    gpu = dlight.gpu
    rules = [gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback()]
    with tvm.target.Target({"kind": "opencl", "host": {"kind": "llvm"}}):
        try:
            module: tvm.IRModule = dlight.ApplyDefaultSchedule(*rules)(narrowed(function))
        except AssertionError:  # a rule of TVM's that fails on a product of one result
            module = dlight.ApplyDefaultSchedule(gpu.Fallback())(narrowed(function))
    return module
