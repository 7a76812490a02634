"""ONNX to Relax."""

from edgeconv.compiler.importer.onnx_graph import import_onnx, unsupported

__all__ = ["import_onnx", "unsupported"]
