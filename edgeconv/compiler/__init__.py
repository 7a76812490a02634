"""From a checked ONNX model to an artifact."""
