"""Scheduled TIR to objects."""

from edgeconv.compiler.codegen.kernel import Kernel
from edgeconv.compiler.codegen.objects import compile_for_cpu, compile_kernels

__all__ = ["Kernel", "compile_for_cpu", "compile_kernels"]
