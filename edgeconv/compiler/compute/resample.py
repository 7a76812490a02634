"""Resampling along one axis, from a table of source positions and weights."""

from __future__ import annotations

from tvm import te, tirx


def resample_axis(
    data: te.Tensor, positions: te.Tensor, weights: te.Tensor, axis: int
) -> te.Tensor:
    """Weighted sums of positions along `axis`.

    Args:
        data: any shape.
        positions: int32 (outputs, taps), positions along `axis`.
        weights: (outputs, taps), in the dtype of `data`.
        axis: which axis; its extent becomes `outputs`.
    """
    outputs, taps = (int(size) for size in positions.shape)
    shape = [*data.shape[:axis], outputs, *data.shape[axis + 1 :]]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        at = index[axis]
        terms = [
            data(*index[:axis], positions(at, tap), *index[axis + 1 :]) * weights(at, tap)
            for tap in range(taps)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    return te.compute(shape, element, name="resample")


def take_axis(data: te.Tensor, positions: te.Tensor, axis: int) -> te.Tensor:
    """Positions along `axis`, unweighted; `positions` is int32 (outputs,)."""
    shape = [*data.shape[:axis], positions.shape[0], *data.shape[axis + 1 :]]
    return te.compute(
        shape,
        lambda *i: data(*i[:axis], positions(i[axis]), *i[axis + 1 :]),
        name="take_axis",
    )
