"""`Source` to a checked ONNX model with golden inputs and outputs, and what it is checked with."""

from edgeconv.exporter.exported import Exported, GoldenCase, model_bytes
from edgeconv.exporter.exporting import export
from edgeconv.exporter.half_range import beyond_half
from edgeconv.exporter.reference import open_reference, reference_values, relative_error
from edgeconv.exporter.store import recall, remember, write_onnx
from edgeconv.exporter.tolerance import products, tolerance, value_tolerances

__all__ = [
    "Exported",
    "GoldenCase",
    "beyond_half",
    "export",
    "model_bytes",
    "open_reference",
    "products",
    "recall",
    "reference_values",
    "relative_error",
    "remember",
    "tolerance",
    "value_tolerances",
    "write_onnx",
]
