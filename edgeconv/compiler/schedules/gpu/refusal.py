"""What a GPU does not compute."""

from __future__ import annotations

from edgeconv.errors import EdgeconvError


class GpuRefusalError(EdgeconvError):
    """A kernel that has no form for a GPU; the message is the reason. The CPU computes it."""
