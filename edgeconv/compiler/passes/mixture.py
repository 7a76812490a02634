"""Weights that are mixed at run time out of constant ones (dynamic and conditional convolution)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from tvm import relax

from edgeconv.compiler.passes.packing import Array
from edgeconv.compiler.passes.rewriting import constant_of, op_name, shape_of


@dataclass(frozen=True)
class Mixture:
    """A tensor that is linear in few factors: sum over k of factors[n, k] * experts[k], + shift.

    Attributes:
        factors: in Relax, of K factors for each of N samples in row-major order.
        experts: (K, *shape of one sample).
        shift: (N, *shape of one sample); None for zero.
        samples: N. The first axis of the tensor is N times that of a sample.
    """

    factors: relax.Expr
    experts: Array
    shift: Array | None
    samples: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole tensor."""
        _, first, *rest = self.experts.shape
        return (self.samples * first, *rest)

    def reshaped(self, shape: tuple[int, ...]) -> Mixture | None:
        """Return the same numbers in another shape; None where that would split a sample."""
        if not shape or shape[0] % self.samples:
            return None
        sample = (shape[0] // self.samples, *shape[1:])
        return replace(
            self,
            experts=self.experts.reshape(-1, *sample),
            shift=None if self.shift is None else self.shift.reshape(self.samples, *sample),
        )

    def shifted(self, constant: Array) -> Mixture:
        """Return the sum with a constant that broadcasts to this shape."""
        shift = self._by_sample(constant)
        return replace(self, shift=shift if self.shift is None else self.shift + shift)

    def scaled(self, constant: Array) -> Mixture | None:
        """Return the product with a constant; None where samples would need other experts."""
        factors = self._by_sample(constant)
        if (factors != factors[0]).any():
            return None
        return replace(
            self,
            experts=self.experts * factors[0],
            shift=None if self.shift is None else self.shift * factors,
        )

    def _by_sample(self, constant: Array) -> Array:
        whole = np.broadcast_to(constant, self.shape)
        return whole.reshape(self.samples, *self.experts.shape[1:])


def read_mixture(expression: relax.Expr, definitions: Mapping[str, relax.Expr]) -> Mixture | None:
    """Return how `expression` is mixed; None where products, sums and reshapes do not say.

    Args:
        expression: in Relax.
        definitions: the value of every variable, by name.
    """
    value = _defined(expression, definitions)
    if op_name(value) == "relax.matmul":
        return _product(value, definitions)
    if op_name(value) == "relax.reshape":
        inner = read_mixture(value.args[0], definitions)
        return None if inner is None else inner.reshaped(shape_of(expression))
    if op_name(value) in ("relax.add", "relax.multiply"):
        for operand, other in (value.args, value.args[::-1]):
            constant = _constant(other, definitions)
            if constant is None:
                continue
            inner = read_mixture(operand, definitions)
            if inner is not None and inner.shape == shape_of(expression):
                add = op_name(value) == "relax.add"
                return inner.shifted(constant) if add else inner.scaled(constant)
    return None


def _product(call: relax.Expr, definitions: Mapping[str, relax.Expr]) -> Mixture | None:
    factors = call.args[0]
    experts = _constant(call.args[1], definitions)
    *batch, count = shape_of(factors)
    if experts is None or not batch or prod(batch) != batch[0] or experts.shape[0] != count:
        return None
    sample = (*(1 for _ in batch), *experts.shape[1:])
    return Mixture(factors, experts.reshape(count, *sample), None, batch[0])


def _constant(expression: relax.Expr, definitions: Mapping[str, relax.Expr]) -> Array | None:
    """Return a constant, also one that was reshaped."""
    value = _defined(expression, definitions)
    if op_name(value) == "relax.reshape":
        inner = _constant(value.args[0], definitions)
        return None if inner is None else inner.reshape(shape_of(expression))
    return constant_of(value)


def _defined(expression: relax.Expr, definitions: Mapping[str, relax.Expr]) -> relax.Expr:
    while isinstance(expression, relax.Var) and expression.name in definitions:
        expression = definitions[expression.name]
    return expression
