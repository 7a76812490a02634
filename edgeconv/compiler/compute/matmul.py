"""Matrix products as tensor expressions."""

from __future__ import annotations

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
