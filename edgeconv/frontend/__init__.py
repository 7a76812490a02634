"""What the user hands over, made into a `Source`: a program and example inputs.

A new kind of model file is one module with `recognises` and `load`, and one line in
`edgeconv.frontend.registry`.
"""

from edgeconv.frontend.inputs import InputSpec, draw_inputs
from edgeconv.frontend.registry import load_source
from edgeconv.frontend.source import Source

__all__ = ["InputSpec", "Source", "draw_inputs", "load_source"]
