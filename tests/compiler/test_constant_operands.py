"""Layers of constants, such as of encoded positions, which an optimiser may leave in a network."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import assert_close, exported, graph_model

from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.devices import open_session
from edgeconv.exporter.tidy import fold
from edgeconv.target import load_target

RANDOM = np.random.default_rng(4)
# More than the optimiser folds by default.
PLACES = RANDOM.standard_normal((1, 24, 20, 20)).astype(np.float32)


def network() -> tuple:
    """Return a model in which a constant meets weights, a grid and an image, and its inputs."""
    inputs = {
        "weights": RANDOM.standard_normal((7, 24, 3, 3)).astype(np.float32),
        "grid": RANDOM.uniform(-1, 1, (1, 6, 5, 2)).astype(np.float32),
        "image": RANDOM.standard_normal((1, 24, 10, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["places", "weights"], ["mixed"], pads=[1, 1, 1, 1]),
        helper.make_node("GridSample", ["places", "grid"], ["sampled"]),
        helper.make_node("MaxPool", ["places"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Add", ["image", "pooled"], ["sum"]),
    ]
    outputs = ["mixed", "sampled", "sum"]
    return graph_model(nodes, inputs, outputs, {"places": PLACES}), inputs


@pytest.mark.parametrize("target", ["host", "rasp4", "mali-g610"])
def test_what_constants_meet_at_run_time_is_computed(target: str) -> None:
    model, inputs = network()
    artifact = compile_exported(exported(model, inputs), load_target(target), emit=Emit.EXE)
    got = open_session(artifact, None).run(inputs)
    for name, want in exported(model, inputs).golden[0].outputs.items():
        assert_close(got[name], want, 24 * 9, name)


def test_what_is_known_before_is_no_step() -> None:
    model, inputs = network()
    folded = fold(model, "net")
    assert [node.op_type for node in folded.graph.node] == ["Conv", "GridSample", "Add"]
    artifact = compile_exported(exported(folded, inputs), load_target("host"), emit=Emit.LIB)
    assert "pool" not in {step.family for step in artifact.plan.steps}
