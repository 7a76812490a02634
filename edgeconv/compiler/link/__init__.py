"""Links kernels, plan and runtime: shared library, static library, runner."""

from edgeconv.compiler.link.link import Emit, link

__all__ = ["Emit", "link"]
