"""ONNX to Relax."""

from edgeconv.compiler.importer.onnx_graph import import_onnx, unsupported
from edgeconv.compiler.importer.settings import setting_inputs

__all__ = ["import_onnx", "setting_inputs", "unsupported"]
