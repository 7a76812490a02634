"""Operands and results that lie in memory otherwise than the rule of a kernel expects.

A block with the annotation `VIEW` computes nothing: it says where the elements of a parameter are
found. One with `PLAIN`, the last, lays blocked results out in the plain form. Rules schedule a
function as if what these blocks make and read were its parameters; afterwards every access goes to
where the element is, so that nothing is ever copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from edgeconv.compiler.schedules.common import replaced

VIEW, PLAIN = "edgeconv.view", "edgeconv.plain"


@dataclass(frozen=True)
class Views:
    """What was taken out of a function, to be put back once it is scheduled.

    Attributes:
        parameters: those of the whole function.
        views: the blocks that the function reads instead of parameters, in order.
        plain: the block that writes the plain result, where there is one.
    """

    parameters: Sequence[Any]
    views: Sequence[Any]
    plain: Any | None

    def put(self, module: tvm.IRModule) -> tvm.IRModule:
        """Return the scheduled module with the parameters of the whole function."""
        if not self.views and self.plain is None:
            return module
        function = module["main"]
        body = function.body
        # The last first, since a view may be one of another view.
        for view in reversed(self.views):
            body = _viewed(body, view)
        if self.plain is not None:
            body = _plain(body, self.plain)
        parameters = list(self.parameters)
        whole = tirx.PrimFunc(parameters, body, function.ret_type, function.attrs)
        return tvm.IRModule({"main": whole})


def take_views(module: tvm.IRModule) -> tuple[tvm.IRModule, Views]:
    """Return the module without views, what they make and read being parameters, and the views."""
    function = module["main"]
    root = function.body.block
    nests = list(root.body.seq) if isinstance(root.body, tirx.SeqStmt) else [root.body]
    blocks = [_block(nest) for nest in nests]
    views = [block for block in blocks if VIEW in block.annotations]
    plain = blocks[-1] if PLAIN in blocks[-1].annotations else None
    taken = Views(list(function.params), views, plain)
    if not views and plain is None:
        return module, taken
    parameters = list(function.params)
    if plain is not None:
        result = plain.writes[0].source
        made = plain.reads[0].source
        parameters = [made if result.same_as(p) else p for p in parameters]
    parameters += [view.writes[0].source for view in views]
    left = [
        nest
        for nest, block in zip(nests, blocks, strict=True)
        if not any(block.same_as(view) for view in (*views, plain))
    ]
    allocated = [b for b in root.alloc_buffers if not any(b.same_as(p) for p in parameters)]
    body = s_tir.SBlock(
        [], [], [], "root", tirx.SeqStmt(left) if len(left) > 1 else left[0], None, allocated
    )
    attributes = function.attrs
    rest = tirx.PrimFunc(
        parameters, s_tir.SBlockRealize([], True, body), function.ret_type, attributes
    )
    return tvm.IRModule({"main": rest}), taken


def _block(statement: Any) -> Any:
    while not isinstance(statement, s_tir.SBlockRealize):
        statement = statement.body
    return statement.block


def _viewed(body: Any, view: Any) -> Any:
    """Return `body` with every load of what a view makes as one of what it reads."""
    made = view.writes[0].source
    axes = [axis.var for axis in view.iter_vars]
    sources = [region.source for region in view.reads]

    def load(node: Any) -> Any:
        if not node.source.same_as(made):
            return node
        value = view.body.value
        for axis, index in zip(axes, node.indices, strict=True):
            value = replaced(value, axis, index)
        return value

    def region(node: Any) -> Any:
        return _whole(sources[0]) if node.source.same_as(made) else node

    return tvm_ffi.structural_map(
        body, [(tvm.ir.expr.TensorLoad, load), (tvm.ir.expr.TensorRegion, region)]
    )


def _plain(body: Any, plain: Any) -> Any:
    """Return `body` with every access of the blocked result as one of the plain one."""
    blocked, result = plain.reads[0].source, plain.writes[0].source
    channels, lanes = int(result.shape[1]), int(blocked.shape[-1])

    def place(indices: Sequence[Any]) -> list[Any]:
        batch, outer, *axes, lane = indices
        return [batch, outer * lanes + lane, *axes]

    def load(node: Any) -> Any:
        return (
            tirx.BufferLoad(result, place(node.indices)) if node.source.same_as(blocked) else node
        )

    def store(node: Any) -> Any:
        if not node.buffer.same_as(blocked):
            return node
        indices = place(node.indices)
        written = tirx.BufferStore(result, node.value, indices)
        if channels % lanes == 0:
            return written
        return tirx.IfThenElse(indices[1] < channels, written, None)

    def region(node: Any) -> Any:
        return _whole(result) if node.source.same_as(blocked) else node

    return tvm_ffi.structural_map(
        body,
        [
            (tvm.ir.expr.TensorLoad, load),
            (tirx.BufferStore, store),
            (tvm.ir.expr.TensorRegion, region),
        ],
    )


def _whole(buffer: Any) -> Any:
    spans = [tvm.ir.Range(0, int(size)) for size in buffer.shape]
    return tirx.BufferRegion(buffer, spans)
