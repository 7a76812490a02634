"""Converters of sampling at grids: AffineGrid, GridSample."""

from __future__ import annotations

from math import prod

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.grid_sample import GridSampling, grid_sample
from edgeconv.compiler.graph import constant
from edgeconv.compiler.importer.converter import Arguments, Converter, computed, dtype_of
from edgeconv.compiler.importer.node import Node

# Names before opset 20.
_OLD_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def _text(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _mode(node: Node) -> str:
    mode = _text(node, "mode", "linear")
    return _OLD_MODES.get(mode, mode)


def _refuse_grid_sample(node: Node) -> str | None:
    if _mode(node) != "nearest" and not node.dtype().startswith("float"):
        return f"interpolation of {node.dtype()}: ONNX does not define how it rounds"
    return None


def _convert_grid_sample(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    sampling = GridSampling(
        _mode(node),
        _text(node, "padding_mode", "zeros"),
        bool(node.attributes.get("align_corners", 0)),
    )
    attributes = sampling.attributes()
    return computed(builder, grid_sample, arguments[:2], sampling, attributes=attributes)


def _convert_affine_grid(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """The places of an untransformed grid, times each matrix of theta."""
    size = [int(extent) for extent in np.asarray(node.constant(1))[2:]]
    corners = node.attributes.get("align_corners", 0)
    axes = []
    for extent in size:
        last = extent - 1 if corners else extent
        steps = np.arange(extent) * 2 + (0 if corners else 1)
        axes.append(steps / last - 1 if last else np.full(1, -1.0))
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    flat = np.stack([*(p.reshape(-1) for p in places), np.ones(prod(size))], axis=1)
    dtype = dtype_of(arguments[0])
    transposed = builder.emit(relax.op.permute_dims(arguments[0], [0, 2, 1]))
    product = relax.op.matmul(constant(flat.astype(dtype)), transposed)
    return relax.op.reshape(builder.emit(product), node.shapes[node.outputs[0]])


CONVERTERS = {
    "AffineGrid": Converter(_convert_affine_grid, constants=(1,)),
    "GridSample": Converter(_convert_grid_sample, _refuse_grid_sample),
}
