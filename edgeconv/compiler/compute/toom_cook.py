"""The transforms of Winograd convolution: exact matrices, and expressions that apply them.

F(m, r): a tile of m + r - 1 inputs and a kernel of r taps are polynomials; their product is
evaluated at m + r - 2 points and infinity, and m outputs are interpolated: y = A^T (G g * B^T d).
How well conditioned that is depends on the points: Barabasz et al., "Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46(4), 2020. Zero and pairs
of opposite numbers near 1 are good, and opposite points share half of their arithmetic. Those here
were found by a search over sixteenths; every coefficient of A and B is exact in single precision.

Three taps of stride 2 are two of stride 1 over the even inputs, F(m, 2), and one over the odd ones,
whose m products enter the outputs as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

TAPS = 3
# Outputs of a tile along each axis.
SIZES = (2, 4)
STRIDES = (1, 2)
# By their number: one of each pair of opposite points; where the number is odd, 0 is one more.
POINTS = {
    2: (Fraction(1),),
    3: (Fraction(1),),
    4: (Fraction(1, 2), Fraction(19, 16)),
    5: (Fraction(3, 4), Fraction(11, 8)),
}

Matrix = list[list[Fraction]]
Array = npt.NDArray[Any]


def tile_side(m: int, stride: int) -> int:
    """Return how many inputs m outputs read, and how many products make them."""
    return (m - 1) * stride + TAPS


def input_transform(m: int, stride: int = 1) -> Matrix:
    """Return B^T, (side, side)."""
    if stride == 1:
        return _evaluation(_finite_points(m, TAPS))
    even = _evaluation(_finite_points(m, TAPS - 1))
    spread = [[c for pair in zip(row, [0] * len(row), strict=True) for c in pair] for row in even]
    odd = [[Fraction(int(i == 2 * k + 1)) for i in range(2 * m + 1)] for k in range(m)]
    return [*([Fraction(c) for c in row[:-1]] for row in spread), *odd]


def output_transform(m: int, stride: int = 1) -> Matrix:
    """Return A^T, (m, side)."""
    if stride == 1:
        return _interpolation(m, _finite_points(m, TAPS))
    even = _interpolation(m, _finite_points(m, TAPS - 1))
    return [[*row, *(Fraction(int(i == k)) for k in range(m))] for i, row in enumerate(even)]


def weight_transform(m: int, stride: int = 1) -> Matrix:
    """Return G, (side, 3)."""
    if stride == 1:
        return _weighting(_finite_points(m, TAPS), TAPS)
    even = _weighting(_finite_points(m, TAPS - 1), TAPS - 1)
    none = Fraction(0)
    return [*([first, none, last] for first, last in even), *([none, Fraction(1), none],) * m]


def transform_weight(weight: Array, m: int, stride: int = 1) -> Array:
    """(OC, IC, *lead, 3, 3) to (OC, IC, side, side, *lead); rounded once, at the end."""
    matrix = np.array(weight_transform(m, stride), np.float64)
    wide = np.einsum("ia,...ab,jb->ij...", matrix, weight.astype(np.float64), matrix, optimize=True)
    return np.ascontiguousarray(np.moveaxis(wide, (0, 1), (2, 3)).astype(weight.dtype))


def amplification(weight: Array, m: int, stride: int = 1) -> float:
    """Return how much larger rounding errors are than in a sum of as many independent products.

    It is the root of the sum of the squared terms that make up an output in the transform domain,
    for white input, over that of the products of a direct convolution; each of the largest output
    channel and place in a tile.
    """
    inputs, outputs = (
        np.square(np.array(matrix(m, stride), np.float64))
        for matrix in (input_transform, output_transform)
    )
    taps = weight.astype(np.float64).reshape(len(weight), -1, TAPS * TAPS)
    # The squares of the transformed weights, summed, follow from the products of pairs of taps.
    pairs = taps.swapaxes(1, 2) @ taps
    once = np.array(weight_transform(m, stride), np.float64)
    twice = np.kron(once, once)
    energy = np.einsum("sa,oab,sb->os", twice, pairs, twice, optimize=True)
    energy = energy.reshape(len(weight), len(once), len(once))
    gains = outputs * inputs.sum(axis=1)
    largest = np.einsum("ri,oij,sj->ors", gains, energy, gains, optimize=True).max()
    direct = np.square(taps).sum(axis=(1, 2)).max()
    return float(np.sqrt(largest / direct)) if direct else 0.0


def evaluated(values: Sequence[Any], m: int, stride: int = 1) -> list[Any]:
    """Return B^T times a vector of expressions."""
    if stride == 1:
        return [_evaluate(row, values) for row in input_transform(m)]
    even = _evaluation(_finite_points(m, TAPS - 1))
    return [*(_evaluate(row, values[::2]) for row in even), *values[1::2]]


def interpolated(values: Sequence[Any], m: int, stride: int = 1) -> list[Any]:
    """Return A^T times a vector of expressions."""
    if stride == 1:
        return [_interpolate(row, values) for row in output_transform(m)]
    even = _interpolation(m, _finite_points(m, TAPS - 1))
    return [
        _interpolate(row, values[: m + 1]) + odd
        for row, odd in zip(even, values[m + 1 :], strict=True)
    ]


def _evaluate(row: Sequence[Fraction], values: Sequence[Any]) -> Any:
    """Return a row of B^T times a vector of expressions.

    Rows of opposite points have the same sum over even places, and opposite sums over odd ones;
    they are written so that a compiler sees it.
    """
    # The highest coefficient first: it is often 1.
    terms = list(zip(row, values, strict=True))[::-1]
    last = len(terms) - 1
    even = _sum([term for i, term in enumerate(terms) if (last - i) % 2 == 0])
    odd_terms = [term for i, term in enumerate(terms) if (last - i) % 2]
    leading = next((coefficient for coefficient, _ in odd_terms if coefficient), Fraction(0))
    odd = _sum([(-c if leading < 0 else c, value) for c, value in odd_terms])
    if odd is None:
        return even
    if even is None:
        return odd
    return even - odd if leading < 0 else even + odd


def _interpolate(row: Sequence[Fraction], values: Sequence[Any]) -> Any:
    """Return a row of A^T times a vector; opposite points enter as their sum or difference."""
    *pairs, last = zip(row, values, strict=True)
    zero = [pairs.pop(0)] if len(pairs) % 2 else []
    joined = [
        (c, plus + minus if c == d else plus - minus)
        for (c, plus), (d, minus) in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return _sum([*zero, *joined, last])


def _finite_points(m: int, taps: int) -> list[Fraction]:
    count = m + taps - 2
    pairs = [signed for point in POINTS[count] for signed in (point, -point)]
    return [Fraction(0), *pairs] if count % 2 else pairs


def _evaluation(points: Sequence[Fraction]) -> Matrix:
    """Return B^T of F(m, r), whose rows belong to the points and infinity."""
    rows = []
    for i, point in enumerate(points):
        row = _polynomial([*points[:i], *points[i + 1 :]])
        rows.append([*(_sign(point, points) * c for c in row), Fraction(0)])
    return [*rows, _polynomial(points)]


def _interpolation(m: int, points: Sequence[Fraction]) -> Matrix:
    """Return A^T of F(m, r)."""
    return [[*(p**row for p in points), Fraction(int(row == m - 1))] for row in range(m)]


def _weighting(points: Sequence[Fraction], taps: int) -> Matrix:
    """Return G of F(m, r)."""
    scales = [
        _sign(p, points) * prod((p - other for other in points if other != p), start=Fraction(1))
        for p in points
    ]
    rows = [[p**k / scale for k in range(taps)] for p, scale in zip(points, scales, strict=True)]
    return [*rows, [Fraction(int(k == taps - 1)) for k in range(taps)]]


def _sign(point: Fraction, points: Sequence[Fraction]) -> int:
    """Return the sign of a point's row: with it, even places are the same for opposite points."""
    return -1 if point < 0 and len(points) % 2 == 0 else 1


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of the product of all (x - root), lowest first."""
    coefficients = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *coefficients]
        lowered = [-root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a + b for a, b in zip(raised, lowered, strict=True)]
    return coefficients


def _sum(terms: Sequence[tuple[Fraction, Any]]) -> Any:
    """Return the sum of coefficients times expressions, or None where all coefficients are 0."""
    total: Any = None
    for coefficient, value in terms:
        if coefficient:
            term = value if coefficient == 1 else value * float(coefficient)
            total = term if total is None else total + term
    return total
