"""The runtimes that are compared, one file each.

A new one is a file with a `Peer`, and a line here.
"""

from __future__ import annotations

from importlib import import_module

from benchmarks.peers.peer import Peer

# Name: class. edgeconv itself comes first, the others are compared with it.
PEERS = {
    "edgeconv": "Edgeconv",
    "onnxruntime": "OnnxRuntime",
    "openvino": "OpenVino",
    "ncnn": "Ncnn",
    "mnn": "Mnn",
    "executorch": "ExecuTorch",
    "litert": "LiteRt",
    "torch_compile": "TorchCompile",
    "tvm": "Tvm",
}


def load(name: str) -> Peer:
    """Return a peer by name; what it imports is not imported yet."""
    peer: Peer = getattr(import_module(f"benchmarks.peers.{name}"), PEERS[name])()
    return peer
