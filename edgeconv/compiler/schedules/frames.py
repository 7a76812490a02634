"""Kernels whose operands are boxes inside larger tensors in memory.

A function says so in its attribute `FRAMES`: JSON, for each parameter null or [shape of the larger
tensor, index of the box's first element]. It is scheduled as if the boxes stood alone. In
`WITH_RESULT`, as JSON too, are the positions of the operands that lie in the same frame as the
result, beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

FRAMES = "edgeconv.frames"
WITH_RESULT = "edgeconv.with_result"


def lay_in_frames(module: tvm.IRModule) -> tvm.IRModule:
    """Return the scheduled module with the parameters of "main" as large as their frames."""
    function = module["main"]
    if FRAMES not in (function.attrs or {}):
        return module
    parameters, body = [], function.body
    for parameter, box in zip(function.params, json.loads(function.attrs[FRAMES]), strict=True):
        if box is None:
            parameters.append(parameter)
            continue
        shape, begin = box

        def shifted(indices: Sequence[Any], begin: list[int] = begin) -> list[Any]:
            return [index + first for index, first in zip(indices, begin, strict=True)]

        larger = tirx.decl_buffer(shape, parameter.dtype, f"{parameter.name}_frame", layout=None)
        parameters.append(larger)
        body = moved(body, parameter, larger, shifted)
    attributes = function.without_attr(FRAMES).attrs
    framed = tirx.PrimFunc(parameters, body, function.ret_type, attributes)
    return tvm.IRModule({"main": framed})


def moved(
    body: Any, box: tirx.Buffer, other: tirx.Buffer, place: Callable[[Sequence[Any]], list[Any]]
) -> Any:
    """Return `body` with every access of `box` as one of `other`, where `place` says."""

    def load(node: Any) -> Any:
        if not node.source.same_as(box):
            return node
        return tirx.BufferLoad(other, place(node.indices))

    def store(node: Any) -> Any:
        if not node.buffer.same_as(box):
            return node
        return tirx.BufferStore(other, node.value, place(node.indices))

    def region(node: Any) -> Any:
        if not node.source.same_as(box):
            return node
        firsts = place([span.min for span in node.region])
        spans = [
            tvm.ir.Range.from_min_extent(first, span.extent)
            for span, first in zip(node.region, firsts, strict=True)
        ]
        return tirx.BufferRegion(other, spans)

    return tvm_ffi.structural_map(
        body,
        [
            (tvm.ir.expr.TensorLoad, load),
            (tirx.BufferStore, store),
            (tvm.ir.expr.TensorRegion, region),
        ],
    )
