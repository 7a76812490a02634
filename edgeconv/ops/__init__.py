"""Operators of edgeconv's own: one file each, with PyTorch definition and ONNX translation."""

from edgeconv.ops.deform_conv import deform_conv2d
from edgeconv.ops.op import Op
from edgeconv.ops.registry import register, registered, translation_table

__all__ = ["Op", "deform_conv2d", "register", "registered", "translation_table"]
