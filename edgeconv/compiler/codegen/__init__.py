"""Scheduled TIR to objects."""

from edgeconv.compiler.codegen.lower import Kernel
from edgeconv.compiler.codegen.objects import compile_kernels

__all__ = ["Kernel", "compile_kernels"]
