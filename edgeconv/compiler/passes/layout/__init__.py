"""Layouts: which tensors are blocked, and what computes each operator on them.

`blocked_layout.RULES` has one line per operator, `convolutions.WAYS` one per way to convolve.
"""

from edgeconv.compiler.passes.layout.blocked_layout import blocked_layout

__all__ = ["blocked_layout"]
