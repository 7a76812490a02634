"""From 32-bit sums of products back to 8-bit integers, as tensor expressions."""

from __future__ import annotations

from tvm import te, tirx


def requantise(total: te.Tensor, factor: te.Tensor, zero_point: te.Tensor, dtype: str) -> te.Tensor:
    """saturate(round_half_to_even(total * factor) + zero_point).

    Args:
        total: int32, any shape.
        factor: float32, of the same rank, broadcast against `total`.
        zero_point: int32 (1,).
        dtype: "int8" or "uint8".
    """

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        at = [0 if int(n) == 1 else i for i, n in zip(index, factor.shape, strict=True)]
        rounded = tirx.nearbyint(total(*index).astype("float32") * factor(*at))
        # Limits of 8 bits, and sums with them, are exact in single precision.
        low, high = (
            tirx.const(float(bound(dtype).value), "float32")
            for bound in (tirx.min_value, tirx.max_value)
        )
        moved = rounded + zero_point(0).astype("float32")
        return tirx.max(tirx.min(moved, high), low).astype(dtype)

    return te.compute(total.shape, element, name="requantise")
