"""Converters of pooling."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.pool import average_pool, lp_pool, max_pool, max_positions
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.importer.converter import Arguments, Converter, computed, dtype_of
from edgeconv.compiler.importer.indexing import scatter_flat
from edgeconv.compiler.importer.node import Node
from edgeconv.compiler.importer.windows import refuse_empty, relax_geometry, window_of

_MAX_POOL = {1: relax.op.nn.max_pool1d, 2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
_AVERAGE_POOL = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}


def _refuse_pool(node: Node) -> str | None:
    if node.rank() - 2 not in _MAX_POOL:
        return f"{node.rank() - 2} spatial axes; 1, 2 or 3 are supported"
    return refuse_empty(node)


def _convert_max_pool(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr | list[relax.Expr]:
    window = window_of(node)
    if len(node.outputs) > 1 and node.outputs[1]:
        column_major = bool(node.attributes.get("storage_order", 0))
        largest = builder.emit(computed(builder, max_pool, arguments[:1], window))
        places = computed(builder, max_positions, [arguments[0], largest], window, column_major)
        return [largest, builder.emit(places)]
    if dtype_of(arguments[0]) != "float32":
        return computed(builder, max_pool, arguments[:1], window)
    max_pool_op = _MAX_POOL[len(window.kernel)]
    return max_pool_op(arguments[0], window.kernel, **relax_geometry(window))


def _convert_average_pool(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    """Mean over the input's positions, or those of the padding too.

    Positions that only `ceil_mode` adds at the end never count.
    """
    window = window_of(node)
    rank = len(window.kernel)
    wanted = tuple(node.attributes.get("pads", (0,) * (2 * rank)))[rank:]
    counted = bool(node.attributes.get("count_include_pad", 0))
    if counted and node.attributes.get("ceil_mode", 0) and wanted != window.pad_after:
        return computed(builder, average_pool, arguments[:1], window, wanted)
    return _AVERAGE_POOL[rank](
        arguments[0],
        window.kernel,
        count_include_pad=counted,
        **relax_geometry(window),
    )


def _convert_lp_pool(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    return computed(builder, lp_pool, arguments[:1], window_of(node), node.attributes.get("p", 2))


def _convert_global_pool(reduce: Any) -> Any:
    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
        return reduce(arguments[0], list(range(2, node.rank())), keepdims=True)

    return convert


def _convert_global_lp_pool(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    size = node.shape(0)[2:]
    ones, zeros = (1,) * len(size), (0,) * len(size)
    window = Window(size, ones, zeros, zeros, ones)
    return computed(builder, lp_pool, arguments[:1], window, node.attributes.get("p", 2))


def _unpooled_size(node: Node) -> list[int]:
    """Return the spatial shape that the indices of a MaxUnpool refer to."""
    kernel = node.attributes["kernel_shape"]
    strides = node.attributes.get("strides", (1,) * len(kernel))
    pads = np.reshape(node.attributes.get("pads", (0,) * (2 * len(kernel))), (2, -1)).sum(0)
    sizes = zip(node.shape(0)[2:], strides, pads, kernel, strict=True)
    return [int((size - 1) * stride - pad + k) for size, stride, pad, k in sizes]


def _refuse_max_unpool(node: Node) -> str | None:
    """Indices that refer to one shape and an output of a smaller one fit nothing."""
    given, size = node.constant(2), _unpooled_size(node)
    if given is not None and any(int(o) < s for o, s in zip(given[2:], size, strict=True)):
        return "output_shape is smaller than what the pooling geometry gives"
    return None


def _convert_max_unpool(
    builder: relax.BlockBuilder, node: Node, arguments: Arguments
) -> relax.Expr:
    shape = (*node.shape(0)[:2], *_unpooled_size(node))
    zeros = builder.emit(relax.op.zeros(shape, dtype_of(arguments[0])))
    bounded = relax.op.clip(arguments[1], 0, prod(shape) - 1)
    places = relax.op.astype(builder.emit(bounded), "int32")
    result = scatter_flat(builder, zeros, places, arguments[0], "none")
    wanted = node.shapes[node.outputs[0]]
    if wanted == shape:
        return result
    padding = [(0, w - s) for w, s in zip(wanted, shape, strict=True)]
    return relax.op.nn.pad(builder.emit(result), [side for pair in padding for side in pair])


CONVERTERS = {
    "MaxPool": Converter(_convert_max_pool, _refuse_pool),
    "AveragePool": Converter(_convert_average_pool, _refuse_pool),
    "LpPool": Converter(_convert_lp_pool, _refuse_pool),
    "GlobalAveragePool": Converter(_convert_global_pool(relax.op.mean)),
    "GlobalMaxPool": Converter(_convert_global_pool(relax.op.max)),
    "GlobalLpPool": Converter(_convert_global_lp_pool),
    "MaxUnpool": Converter(_convert_max_unpool, _refuse_max_unpool, constants=(2,)),
}
