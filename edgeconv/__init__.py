"""edgeconv: compile convolutional networks for the edge, and prove what they compute.

artifact = edgeconv.compile(module, example_inputs, target="rasp4")
artifact.verify().raise_if_failed()
artifact.save("net-rasp4.edge")
"""

from typing import TYPE_CHECKING, Any

from edgeconv.errors import EdgeconvError

if TYPE_CHECKING:
    from edgeconv.api import compile, export
    from edgeconv.artifact import Artifact

__all__ = ["Artifact", "EdgeconvError", "compile", "export"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line starts faster than NumPy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = "edgeconv.artifact" if name == "Artifact" else "edgeconv.api"
    return getattr(import_module(module), name)
