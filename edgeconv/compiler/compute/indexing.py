"""Reading at computed places, as tensor expressions.

An index below zero counts from the end. One that lies outside is undefined in ONNX; it reads the
nearest element here, so that no kernel reads beyond its input.
"""

from __future__ import annotations

from tvm import te, tirx


def valid_index(index: tirx.PrimExpr, size: int) -> tirx.PrimExpr:
    """Return a computed `index` as int32 in [0, size)."""
    wrapped = tirx.if_then_else(index < 0, index + size, index)
    return tirx.max(tirx.min(wrapped, size - 1), 0).astype("int32")


def gather(data: te.Tensor, indices: te.Tensor, axis: int) -> te.Tensor:
    """Slices of `data` along `axis` at `indices` of any shape, which takes the axis' place."""
    size, rank = int(data.shape[axis]), len(indices.shape)

    def element(*i: tirx.Var) -> tirx.PrimExpr:
        at = valid_index(indices(*i[axis : axis + rank]), size)
        return data(*i[:axis], at, *i[axis + rank :])

    shape = [*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]]
    return te.compute(shape, element, name="gather")


def gather_elements(data: te.Tensor, indices: te.Tensor, axis: int) -> te.Tensor:
    """One element of `data` for each of `indices`, which replaces the position on `axis`."""
    size = int(data.shape[axis])
    return te.compute(
        indices.shape,
        lambda *i: data(*i[:axis], valid_index(indices(*i), size), *i[axis + 1 :]),
        name="gather_elements",
    )


def gather_nd(data: te.Tensor, indices: te.Tensor, batch_dims: int) -> te.Tensor:
    """Slices of `data` at index tuples.

    Args:
        data: (*batch, *sizes, *slice).
        indices: (*batch, *places, tuple), where `tuple` is the number of axes in `sizes`.
        batch_dims: the number of axes in `batch`.

    Returns:
        (*batch, *places, *slice).
    """
    *outer, length = (int(size) for size in indices.shape)
    last = batch_dims + length

    def element(*i: tirx.Var) -> tirx.PrimExpr:
        place = i[: len(outer)]
        at = [
            valid_index(indices(*place, k), int(data.shape[batch_dims + k])) for k in range(length)
        ]
        return data(*i[:batch_dims], *at, *i[len(outer) :])

    return te.compute([*outer, *data.shape[last:]], element, name="gather_nd")


def strided_slice(
    data: te.Tensor, begins: list[int], steps: list[int], shape: list[int]
) -> te.Tensor:
    """Element i of axis a is at begins[a] + i * steps[a], where a step may be negative."""
    return te.compute(
        shape,
        lambda *index: data(*(b + i * s for i, b, s in zip(index, begins, steps, strict=True))),
        name="slice",
    )


def one_hot(indices: te.Tensor, values: te.Tensor, depth: int, axis: int) -> te.Tensor:
    """A new `axis` of extent `depth`: values[1] where its position is the index, else values[0]."""
    shape = [*indices.shape[:axis], depth, *indices.shape[axis:]]

    def element(*i: tirx.Var) -> tirx.PrimExpr:
        index = indices(*i[:axis], *i[axis + 1 :])
        wrapped = tirx.if_then_else(index < 0, index + tirx.const(depth, indices.dtype), index)
        hot = wrapped == i[axis].astype(indices.dtype)
        return tirx.if_then_else(hot, values(1), values(0))

    return te.compute(shape, element, name="one_hot")


def reverse_sequence(
    data: te.Tensor, lengths: te.Tensor, batch_axis: int, time_axis: int
) -> te.Tensor:
    """Turn the first lengths[b] steps of every sequence b around."""
    size = int(data.shape[time_axis])

    def element(*i: tirx.Var) -> tirx.PrimExpr:
        step = i[time_axis]
        length = tirx.min(lengths(i[batch_axis]), size).astype("int32")
        source = tirx.if_then_else(step < length, length - 1 - step, step)
        return data(*i[:time_axis], source, *i[time_axis + 1 :])

    return te.compute(data.shape, element, name="reverse_sequence")
