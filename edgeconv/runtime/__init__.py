"""The C runtime (`src/`, `include/edgeconv.h`) and its binding for Python on NumPy alone."""

from edgeconv.runtime.binding import Model, StepTime

__all__ = ["Model", "StepTime"]
