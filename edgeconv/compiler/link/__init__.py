"""Links kernels, plan and runtime: shared library, static library, runner."""

from edgeconv.compiler.link.link import Emit, link
from edgeconv.compiler.link.runtime_objects import runtime_version

__all__ = ["Emit", "link", "runtime_version"]
