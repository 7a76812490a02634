"""Lowered TIR with thread bindings as text in OpenCL C 1.2.

TVM has a generator of its own, which this project cannot use: it writes seven digits of a
constant, pointers to `bool` (which no kernel may take), comparisons that lose NaN, and breaks
vectorised loops up wherever they call a function. Here a vectorised loop becomes statements on
vectors; what has no vector form (a gather, a condition of its own per lane) is put together lane by
lane.
"""

from edgeconv.compiler.codegen.opencl_c.kernel import Source, write_kernel

__all__ = ["Source", "write_kernel"]
