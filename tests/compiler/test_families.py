"""A layer of every convolution family, through the whole way on every kind of target."""

from __future__ import annotations

import pytest
import torch

import edgeconv
from edgeconv import nn
from edgeconv.nn.families import FAMILIES, Example

EXAMPLES = {
    name: example for family in FAMILIES.values() for name, example in family.examples.items()
}


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_layer_equals_pytorch(example: Example, target: str) -> None:
    module = nn.seed_weights(example.make(), 0).eval()
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in example.shapes]
    edgeconv.compile(module, inputs, target=target).verify().raise_if_failed()


def test_every_family_and_every_example_is_there() -> None:
    assert len(EXAMPLES) == sum(len(family.examples) for family in FAMILIES.values()) >= 19
    for family in FAMILIES.values():
        assert len({layer.__module__ for layer in family.layers}) == 1
