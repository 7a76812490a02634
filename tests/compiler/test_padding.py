"""Padding as a step of its own, on every small shape: axes of one element are special to TVM."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import graph_model, run_model


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_border_of_the_smallest_images(rank: int) -> None:
    nodes, inputs, constants, want = [], {}, {}, {}
    shapes = itertools.product((1, 2), (0, 1), (0, 2))
    axes = list(shapes) if rank == 1 else [(1, 1, 0), (1, 1, 2), (2, 1, 0), (1, 0, 0)]
    for index, drawn in enumerate(itertools.combinations_with_replacement(axes, rank)):
        size, before, after = zip(*drawn, strict=True)
        x = inputs[f"x{index}"] = np.arange(1, 1 + 2 * np.prod(size), dtype=np.float32).reshape(
            1, 2, *size
        )
        constants[f"w{index}"] = np.ones((1, 2, *(1,) * rank), np.float32)
        nodes.append(
            helper.make_node(
                "Conv", [f"x{index}", f"w{index}"], [f"y{index}"], pads=(*before, *after)
            )
        )
        borders = [(0, 0), *zip(before, after, strict=True)]
        want[f"y{index}"] = np.pad(x.sum(1), borders)[:, None]
    got = run_model(graph_model(nodes, inputs, list(want), constants), inputs)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array)
