"""Weights in the layout that a kernel reads, packed at compile time as far as they are known."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from tvm import relax

from edgeconv.compiler.compute.layout import permuted
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.conv_call import Convolution
from edgeconv.compiler.passes.layout.forms import Forms
from edgeconv.compiler.passes.layout.matmul import constant_product
from edgeconv.compiler.passes.mixture import Mixture, read_mixture
from edgeconv.compiler.passes.packing import Array

Pack = Callable[[Array], Array]


def packed_weight(forms: Forms, name: str, conv: Convolution, pack: Pack) -> relax.Expr:
    """Return the weights of a convolution as `pack` lays them out.

    Constant weights are packed here. Of weights that are mixed out of constant ones, those are
    packed, and mixed in that form. Any other weights are packed at run time.

    Args:
        forms: takes what computes the weights at run time.
        name: the convolution's variable.
        conv: the convolution.
        pack: lays (OC, IC/groups, *kernel) out anew, and adds zeros.
    """
    if conv.weight is not None:
        return constant(pack(conv.weight))
    mixture = read_mixture(conv.weight_expression, forms.definitions)
    packed = None if mixture is None else _mixed(forms, name, mixture, pack)
    return _packed_late(forms, name, conv, pack) if packed is None else packed


def _mixed(forms: Forms, name: str, mixture: Mixture, pack: Pack) -> relax.Expr | None:
    """Mix packed experts; None where the kernel packs samples otherwise than one by one."""
    # Every weight says which one it is. Shapes would not do: both ways may pad to the same one.
    places = np.arange(1, prod(mixture.shape) + 1)
    by_sample = places.reshape(mixture.samples, *mixture.experts.shape[1:])
    together = pack(places.reshape(mixture.shape))
    if not np.array_equal(together, np.concatenate([pack(sample) for sample in by_sample])):
        return None
    experts = np.stack([pack(expert) for expert in mixture.experts])
    count = len(experts)
    shape = together.shape
    rows = (mixture.samples, prod(experts.shape[1:]))
    factors = forms.builder.emit(
        relax.op.reshape(forms.as_plain(mixture.factors), (mixture.samples, count))
    )
    product = constant_product(forms, factors, experts.reshape(count, -1))
    mixed = _emit(forms, name, product)
    forms.tables.macs[mixed.name] = count * prod(rows)
    if mixture.shift is not None:
        shift = np.stack([pack(sample) for sample in mixture.shift])
        mixed = _emit(forms, name, relax.op.add(mixed, constant(shift.reshape(rows))))
    return forms.builder.emit(relax.op.reshape(mixed, shape))


def _packed_late(forms: Forms, name: str, conv: Convolution, pack: Pack) -> relax.Expr:
    """Pack at run time: every packed weight says which one it is, from 1; 0 stands for zero."""
    places = np.arange(1, prod(conv.weight_shape) + 1, dtype=np.int32)
    table = constant(pack(places.reshape(conv.weight_shape)))
    weight = forms.as_plain(conv.weight_expression)
    flat = forms.builder.emit(relax.op.reshape(weight, (prod(conv.weight_shape),)))
    return _emit(forms, name, forms.call(permuted, [flat, table]))


def _emit(forms: Forms, name: str, call: relax.Expr) -> relax.Var:
    """Emit a step that makes weights, on behalf of the convolution."""
    step = forms.builder.emit(call, f"{name}_weights")
    forms.tables.families[step.name] = "weights"
    forms.tables.layers[step.name] = forms.tables.layers.get(name, ())
    return step
