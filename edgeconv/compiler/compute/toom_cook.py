"""The transforms of Winograd convolution, F(m, 3): exact matrices, and expressions that apply them.

A tile of m + 2 inputs and a kernel of 3 taps are polynomials; their product is evaluated at
m + 1 points and infinity, and m outputs are interpolated: y = A^T ((G g) * (B^T d)). How well
conditioned that is depends on the points: Barabasz et al., "Error Analysis and Improving the
Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46(4), 2020. Zero and pairs of
opposite numbers near 1 are good, and opposite points share half of their arithmetic. Those here
were found by a search over sixteenths; every coefficient of A and B is exact in single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

TAPS = 3
# By m: one of each pair of opposite points.
POINTS = {2: (Fraction(1),), 4: (Fraction(3, 4), Fraction(11, 8))}

Matrix = list[list[Fraction]]
Array = npt.NDArray[Any]


def input_transform(m: int) -> Matrix:
    """Return B^T, (m + 2, m + 2)."""
    points = _finite_points(m)
    others = [[*points[:i], *points[i + 1 :]] for i in range(len(points))]
    return [*([*_polynomial(roots), Fraction(0)] for roots in others), _polynomial(points)]


def output_transform(m: int) -> Matrix:
    """Return A^T, (m, m + 2)."""
    points = _finite_points(m)
    return [[*(p**row for p in points), Fraction(int(row == m - 1))] for row in range(m)]


def weight_transform(m: int) -> Matrix:
    """Return G, (m + 2, 3)."""
    points = _finite_points(m)
    scales = [
        prod((p - other for other in points if other != p), start=Fraction(1)) for p in points
    ]
    rows = [[p**k / scale for k in range(TAPS)] for p, scale in zip(points, scales, strict=True)]
    return [*rows, [Fraction(int(k == TAPS - 1)) for k in range(TAPS)]]


def transform_weight(weight: Array, m: int) -> Array:
    """(OC, IC, *lead, 3, 3) to (OC, IC, m + 2, m + 2, *lead); rounded once, at the end."""
    matrix = np.array(weight_transform(m), np.float64)
    wide = np.einsum("ia,...ab,jb->ij...", matrix, weight.astype(np.float64), matrix, optimize=True)
    return np.ascontiguousarray(np.moveaxis(wide, (0, 1), (2, 3)).astype(weight.dtype))


def amplification(weight: Array, m: int) -> float:
    """Return how much larger rounding errors are than in a sum of as many independent products.

    It is the root of the sum of the squared terms that make up an output in the transform domain,
    for white input, over that of the products of a direct convolution; each of the largest output
    channel and place in a tile.
    """
    inputs, outputs = (
        np.square(np.array(matrix(m), np.float64)) for matrix in (input_transform, output_transform)
    )
    terms = np.square(transform_weight(weight.astype(np.float64), m)).sum(axis=1)
    energy = terms.reshape(*terms.shape[:3], -1).sum(axis=-1)
    gains = outputs * inputs.sum(axis=1)
    largest = np.einsum("ri,oij,sj->ors", gains, energy, gains, optimize=True).max()
    direct = np.square(weight.astype(np.float64)).reshape(len(weight), -1).sum(axis=1).max()
    return float(np.sqrt(largest / direct)) if direct else 0.0


def evaluate(row: Sequence[Fraction], values: Sequence[Any]) -> Any:
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


def interpolate(row: Sequence[Fraction], values: Sequence[Any]) -> Any:
    """Return a row of A^T times a vector; opposite points enter as their sum or difference."""
    first, *pairs, last = zip(row, values, strict=True)
    joined = [
        (c, plus + minus if c == d else plus - minus)
        for (c, plus), (d, minus) in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return _sum([first, *joined, last])


def _finite_points(m: int) -> list[Fraction]:
    return [Fraction(0), *(signed for point in POINTS[m] for signed in (point, -point))]


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
