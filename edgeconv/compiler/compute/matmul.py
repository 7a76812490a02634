"""Matrix products as tensor expressions."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx


def pack_columns(other: te.Tensor, tile: int, transposed: bool) -> te.Tensor:
    """Pack a computed matrix, or a batch of them, for `matmul_packed`.

    Args:
        other: (*batch, K, N), or (*batch, N, K) where it is `transposed`.
        tile: columns that stand side by side.
        transposed: whether the last two axes are exchanged.

    Returns:
        (*batch, ceil(N/tile), K, tile), with zeros beyond N.
    """
    *batch, depth, columns = (int(size) for size in other.shape)
    if transposed:
        depth, columns = columns, depth

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        *outer, panel, k, lane = index
        column = panel * tile + lane
        load = other(*outer, column, k) if transposed else other(*outer, k, column)
        if columns % tile == 0:
            return load
        return tirx.if_then_else(column < columns, load, tirx.const(0, other.dtype))

    return te.compute((*batch, -(-columns // tile), depth, tile), element, name="pack_columns")


def matmul_plain(
    data: te.Tensor, other: te.Tensor, columns: int, transposed: bool = False
) -> te.Tensor:
    """Multiply matrices, or batches of them that broadcast against each other, as they stand.

    Args:
        data: (*batch, M, K).
        other: (*batch, K, >= N), or (*batch, N, K) where it is `transposed`.
        columns: N.
        transposed: whether the last two axes of `other` are exchanged.

    Returns:
        (*batch, M, N).
    """
    *left, rows, depth = (int(size) for size in data.shape)
    right = [int(size) for size in other.shape[:-2]]
    k = te.reduce_axis((0, depth), name="k")

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        *outer, row, column = index
        last = (column, k) if transposed else (k, column)
        factor = other(*_broadcast(outer, right), *last)
        return te.sum(data(*_broadcast(outer, left), row, k) * factor, axis=k)

    return te.compute((*_batch(left, right), rows, columns), element, name="product")


def matmul_packed(data: te.Tensor, weight: te.Tensor, columns: int, tile_rows: int) -> te.Tensor:
    """Multiply matrices, or batches of them that broadcast against each other.

    Args:
        data: (*batch, M, K).
        weight: (*batch, ceil(N/t), K, t), packed, with zeros beyond N.
        columns: N.
        tile_rows: rows that are computed together; those beyond M are computed and dropped.

    Returns:
        (*batch, M, N).
    """
    *left, rows, depth = (int(size) for size in data.shape)
    *right, panels, _, tile = (int(size) for size in weight.shape)
    batch = _batch(left, right)
    whole_rows = -(-rows // tile_rows) * tile_rows
    k = te.reduce_axis((0, depth), name="k")

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        *outer, row, panel, lane = index
        there = row if whole_rows == rows else tirx.min(row, rows - 1)
        return te.sum(
            data(*_broadcast(outer, left), there, k)
            * weight(*_broadcast(outer, right), panel, k, lane),
            axis=k,
        )

    product = te.compute((*batch, whole_rows, panels, tile), element, name="matmul")
    return te.compute(
        (*batch, rows, columns),
        lambda *i: product(*i[:-1], i[-1] // tile, i[-1] % tile),
        name="crop",
    )


def _batch(left: list[int], right: list[int]) -> list[int]:
    """Return the shape of two batches that broadcast against each other."""
    rank = max(len(left), len(right))
    pairs = zip([1] * (rank - len(left)) + left, [1] * (rank - len(right)) + right, strict=True)
    return [max(pair) for pair in pairs]


def _broadcast(index: Sequence[tirx.Var], shape: Sequence[int]) -> list[object]:
    """Return the index into a tensor of `shape` whose axes of extent 1 are repeated."""
    aligned = index[len(index) - len(shape) :]
    return [0 if size == 1 else i for i, size in zip(aligned, shape, strict=True)]
