"""Between single precision and the half precision in which tensors are stored."""

from __future__ import annotations

from tvm import te

# Names of the blocks.
WIDEN, NARROW = "widen", "narrow"


def convert(data: te.Tensor, dtype: str) -> te.Tensor:
    """Convert to "float32", exactly, or to "float16", to the nearest number."""
    name = WIDEN if dtype == "float32" else NARROW
    return te.compute(data.shape, lambda *axes: data(*axes).astype(dtype), name=name)
