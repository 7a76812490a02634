"""edgeconv: compile convolutional networks for the edge, and prove what they compute.

artifact = edgeconv.compile(module, example_inputs, target="rasp4")
artifact.verify().raise_if_failed()
artifact.save("net-rasp4.edge")
"""

from edgeconv.api import compile, export
from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError

__all__ = ["Artifact", "EdgeconvError", "compile", "export"]
