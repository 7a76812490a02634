"""`Source` to a checked ONNX model with golden inputs and outputs, and what it is checked with."""

from edgeconv.export.exported import Exported, GoldenCase, model_bytes
from edgeconv.export.exporting import export
from edgeconv.export.reference import reference_values, relative_error
from edgeconv.export.store import recall, remember, write_onnx
from edgeconv.export.tolerance import tolerance, value_tolerances

__all__ = [
    "Exported",
    "GoldenCase",
    "export",
    "model_bytes",
    "recall",
    "reference_values",
    "relative_error",
    "remember",
    "tolerance",
    "value_tolerances",
    "write_onnx",
]
