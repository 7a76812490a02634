"""Matrix products as tensor expressions."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx


def matmul_packed(data: te.Tensor, weight: te.Tensor, columns: int) -> te.Tensor:
    """Multiply rows by constant weights that were packed at compile time.

    Args:
        data: (*batch, K).
        weight: (ceil(N/t), K, t), with zeros beyond N.
        columns: N.

    Returns:
        (*batch, N).
    """
    panels, depth, tile = (int(s) for s in weight.shape)
    k = te.reduce_axis((0, depth), name="k")

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        *batch, panel, lane = index
        return te.sum(data(*batch, k) * weight(panel, k, lane), axis=k)

    product = te.compute((*data.shape[:-1], panels, tile), element, name="matmul")
    return te.compute(
        (*data.shape[:-1], columns),
        lambda *i: product(*i[:-1], i[-1] // tile, i[-1] % tile),
        name="crop",
    )


def _broadcast(index: Sequence[tirx.Var], shape: Sequence[int]) -> list[object]:
    """Return the index into a tensor of `shape` whose axes of extent 1 are repeated."""
    aligned = index[len(index) - len(shape) :]
    return [0 if size == 1 else i for i, size in zip(aligned, shape, strict=True)]


def matmul_plain(data: te.Tensor, other: te.Tensor, tile: int) -> te.Tensor:
    """Multiply two computed matrices, or batches of them that broadcast against each other.

    Args:
        data: (*batch, M, K).
        other: (*batch, K, N).
        tile: columns that are computed together; a divisor of N.

    Returns:
        (*batch, M, N).
    """
    *left, rows, depth = (int(size) for size in data.shape)
    *right, _, columns = (int(size) for size in other.shape)
    rank = max(len(left), len(right))
    pairs = zip([1] * (rank - len(left)) + left, [1] * (rank - len(right)) + right, strict=True)
    batch = [max(pair) for pair in pairs]
    k = te.reduce_axis((0, depth), name="k")

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        *outer, row, panel, lane = index
        return te.sum(
            data(*_broadcast(outer, left), row, k)
            * other(*_broadcast(outer, right), k, panel * tile + lane),
            axis=k,
        )

    product = te.compute((*batch, rows, columns // tile, tile), element, name="matmul")
    return te.compute(
        (*batch, rows, columns),
        lambda *i: product(*i[:-1], i[-1] // tile, i[-1] % tile),
        name="crop",
    )
