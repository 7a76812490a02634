"""Links kernels, plan and runtime: shared library, static library, runner."""

from edgeconv.compiler.link.link import Emit, c_libraries, link
from edgeconv.compiler.link.runtime_objects import runtime_version

__all__ = ["Emit", "c_libraries", "link", "runtime_version"]
