"""Normalisation of rows, as tensor expressions."""

from __future__ import annotations

from tvm import te, tirx

# The last stage, by which schedules find it, and what follows it.
STANDARDISED = "standardised"


def standardise(data: te.Tensor, epsilon: float, centred: bool) -> list[te.Tensor]:
    """Bring every row to mean 0 and variance 1, or only to mean square 1.

    The variance is the mean square of differences from the mean, in a second pass over the row:
    one pass over squares loses all digits where the mean is large.

    Args:
        data: (rows, elements).
        epsilon: added to the variance.
        centred: whether to subtract the mean.

    Returns:
        The rows; their means (rows, 1); the inverse standard deviations (rows, 1).
    """
    rows, elements = (int(size) for size in data.shape)
    scale = tirx.const(1.0 / elements, data.dtype)

    def mean_of(value: te.Tensor, name: str) -> te.Tensor:
        k = te.reduce_axis((0, elements), name="k")
        total = te.compute((rows, 1), lambda row, _: te.sum(value(row, k), axis=k), name=name)
        return te.compute((rows, 1), lambda *i: total(*i) * scale, name=f"{name}_mean")

    mean = mean_of(data, "total")

    def difference(row: tirx.Var, k: tirx.Var) -> tirx.PrimExpr:
        return data(row, k) - mean(row, 0) if centred else data(row, k)

    squares = te.compute(data.shape, lambda *i: difference(*i) * difference(*i), name="squares")
    variance = mean_of(squares, "square_total")
    small = tirx.const(epsilon, data.dtype)
    one = tirx.const(1, data.dtype)
    inverse = te.compute(
        (rows, 1), lambda *i: one / tirx.sqrt(variance(*i) + small), name="inverse"
    )
    result = te.compute(
        data.shape, lambda row, k: difference(row, k) * inverse(row, 0), name=STANDARDISED
    )
    return [result, mean, inverse]


def standardised(data: te.Tensor, epsilon: float, centred: bool) -> te.Tensor:
    """The rows of `standardise`, alone."""
    return standardise(data, epsilon, centred)[0]


def across_channels(data: te.Tensor, size: int, options: tuple[float, float, float]) -> te.Tensor:
    """Local response normalisation (Krizhevsky et al. 2012) of (N, C, *spatial).

    Args:
        data: the input.
        size: channels that count together, `size - 1` of them beside each channel itself.
        options: alpha, beta and bias: data / (bias + alpha / size * sum of squares) ** beta.
    """
    alpha, beta, bias = options
    channels = int(data.shape[1])
    k = te.reduce_axis((0, size), name="k")

    def squares(n: tirx.Var, channel: tirx.Var, *axes: tirx.Var) -> tirx.PrimExpr:
        other = channel + k - (size - 1) // 2
        inside = tirx.all(other >= 0, other < channels)
        value = tirx.if_then_else(inside, data(n, other, *axes), tirx.const(0, data.dtype))
        return te.sum(value * value, axis=k)

    total = te.compute(data.shape, squares, name="squares")
    constants = [tirx.const(value, data.dtype) for value in (bias, alpha / size, beta)]
    return te.compute(
        data.shape,
        lambda *i: data(*i) / tirx.pow(constants[0] + constants[1] * total(*i), constants[2]),
        name="across_channels",
    )
