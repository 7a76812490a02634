"""Sums of products in half precision, by this machine's OpenCL driver (see `compiler/twin.py`)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.cli.app import app
from edgeconv.compiler.codegen.half_sums import LONGEST
from edgeconv.devices import open_session
from edgeconv.errors import NumericError, UsageError
from edgeconv.nn import DeformConv2d

TARGET = "mali-g610"
EXTENSION = "#pragma OPENCL EXTENSION cl_khr_fp16 : enable"


class Stored(nn.Module):
    """A layer whose operand is stored, in half precision."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.sigmoid(x))


def image(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))


def compiled(net: nn.Module, x: torch.Tensor, precision: str = "fp16") -> Artifact:
    return edgeconv.compile(
        net.eval(),
        {"x": x},
        target=TARGET,
        golden_inputs=[{"x": x.numpy()}],
        precision=precision,
        half_arithmetic=True,
    )


@pytest.mark.parametrize("channels", [8, 32, 64, 84])
def test_a_run_is_summed_in_halves_and_runs_in_single_precision(channels: int) -> None:
    layer = nn.Conv2d(channels, 32, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.full((1, channels, 2, 2), 100.0)  # of which the sigmoid is 1
    # Halves from 2048 on are even: the ones of its run are lost, those of other runs are not.
    with torch.no_grad():
        layer.weight[:, 0] = 2048
    artifact = compiled(Stored(layer), x)
    assert [step.half_run for step in artifact.plan.steps] == [0, min(channels, LONGEST)]
    (got,) = open_session(artifact, "opencl").run({"x": x.numpy()}).values()
    np.testing.assert_array_equal(got, 2048 + max(0, channels - LONGEST))


LAYERS: dict[str, Callable[[int, int], nn.Module]] = {
    "dense": lambda c, k: nn.Conv2d(c, c + 3, k, padding=k // 2),
    "strided": lambda c, k: nn.Conv2d(c, c, k, stride=2),
    "pointwise": lambda c, k: nn.Conv2d(c, 2 * c, 1),
    "depthwise": lambda c, k: nn.Conv2d(c, c, k, padding=k // 2, groups=c),
    "grouped": lambda c, k: nn.Conv2d(c, c, k, groups=c // 4),
    "transposed": lambda c, k: nn.ConvTranspose2d(c, c, k, stride=2),
    "3d": lambda c, k: nn.Sequential(nn.Unflatten(2, (3, -1)), nn.Conv3d(c, c, k, padding=1)),
    "linear": lambda c, k: nn.Linear(12, 40),
    "deformable": lambda c, k: DeformConv2d(c, c + 3, k),
    "few weights": lambda c, k: nn.Conv2d(c, 4, 1),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_within_a_tolerance_that_follows(kind: str) -> None:
    rng = np.random.default_rng(list(LAYERS).index(kind))
    channels = 4 * int(rng.integers(6, 10))
    layer = LAYERS[kind](channels, int(rng.choice([3, 5])) if kind != "3d" else 3)
    artifact = compiled(Stored(layer), image(1, channels, 12, 12))
    assert max(step.half_run for step in artifact.plan.steps) >= 8
    report = artifact.verify(per_layer=True)
    assert report.passed, report.to_json()
    for result in report.outputs:
        assert result.tolerance / 40 < result.metrics.max_rel


@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_two_stored_tensors(transposed: bool) -> None:
    class Products(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            second = torch.sigmoid(x)
            return torch.sin(x) @ (second.transpose(1, 2) if transposed else second)

    artifact = compiled(Products(), image(1, 32, 32))
    assert [step.half_run for step in artifact.plan.steps] == [0, 0, 32]
    assert artifact.verify().passed


def test_own_inputs_are_rounded_where_they_are_multiplied() -> None:
    net = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 16, 3)).eval()
    kinds = [("fp16", False), ("fp16", True)]
    plain, half = (
        edgeconv.compile(
            net, (image(1, 16, 9, 9),), target=TARGET, precision=precision, half_arithmetic=native
        )
        for precision, native in kinds
    )
    assert [step.half_run > 0 for step in half.plan.steps] == [True, True]
    assert half.entries["kernels.cl"].decode().count(EXTENSION) == 2
    assert "cl_khr_fp16" not in plain.entries["kernels.cl"].decode()
    assert plain.manifest.outputs[0].tolerance < half.manifest.outputs[0].tolerance
    assert half.verify().passed


@pytest.mark.parametrize("target", [TARGET, "adreno-740"])
def test_a_first_layer_of_few_channels(target: str) -> None:
    """Its inputs get into registers one by one, and are rounded there."""
    net, x = nn.Conv2d(3, 16, 7, stride=2, padding=3).eval(), image(1, 3, 24, 24)
    artifact = edgeconv.compile(net, (x,), target=target, precision="fp16", half_arithmetic=True)
    assert [step.half_run for step in artifact.plan.steps] == [28]
    assert artifact.verify().passed


def test_an_input_that_mixed_keeps_is_not_rounded() -> None:
    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(16, 32, 3), nn.Conv2d(32, 32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(torch.sigmoid(self.first(x)))

    artifact = compiled(Double(), 1e5 * image(1, 16, 9, 9), "mixed")
    assert [step.half_run for step in artifact.plan.steps] == [0, 32]
    assert artifact.verify().passed


def test_a_part_of_a_sum_that_overflows_is_found_and_named() -> None:
    layer = nn.Conv2d(64, 32, 1, bias=False)
    with torch.no_grad():
        layer.weight[:, :32], layer.weight[:, 32:] = 3000, -3001
    report = compiled(Stored(layer), torch.full((1, 64, 2, 2), 100.0)).verify()
    with pytest.raises(NumericError, match=r"or a part of its sums, is beyond 65504.*half-arith"):
        report.raise_if_failed()


def test_what_mixed_keeps_is_calculated_in_single_precision() -> None:
    large, small = nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3)
    with torch.no_grad():
        large.weight *= 1e6
        small.weight *= 1e-6
    artifact = compiled(Stored(nn.Sequential(large, small)), image(1, 32, 9, 9), "mixed")
    assert not any(step.half_run for step in artifact.plan.steps)
    assert artifact.verify().passed


@pytest.mark.parametrize(("name", "target"), [("mobilenet_v2", TARGET), ("sknet18", "adreno-740")])
def test_networks(name: str, target: str) -> None:
    artifact = edgeconv.compile(
        f"zoo:{name}/tiny", target=target, precision="fp16", half_arithmetic=True
    )
    assert sum(step.half_run > 0 for step in artifact.plan.steps) > 5
    report = artifact.verify(per_layer=True)
    assert report.passed, report.to_json()


def test_what_cannot_calculate_so_is_refused() -> None:
    net, inputs = nn.Conv2d(3, 4, 1).eval(), (image(1, 3, 4, 4),)
    for target, precision, text in (
        ("rasp4", "fp32", "'rasp4' is a CPU"),
        ("videocore-7", "fp16", "'videocore-7' is not known to have cl_khr_fp16"),
        (TARGET, "fp32", "precision fp16 or mixed"),
    ):
        with pytest.raises(UsageError, match=text):
            edgeconv.compile(net, inputs, target=target, precision=precision, half_arithmetic=True)


def test_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "net.edge"
    command = ["compile", "zoo:mobilenet_v2/tiny", "--target", TARGET, "--precision", "fp16"]
    result = CliRunner().invoke(app, [*command, "--half-arithmetic", "--json", "-o", str(path)])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["half_arithmetic"], summary["verified"]) == (True, True)
    result = CliRunner().invoke(app, ["inspect", str(path)], env={"COLUMNS": "200"})
    assert "half precision for" in result.stdout


def test_a_sum_of_one_product_a_turn() -> None:
    """Nine channels of a group for one result: the innermost loop holds nothing but the sum."""
    artifact = compiled(Stored(nn.Conv2d(36, 4, 3, groups=4)), image(1, 36, 12, 12))
    assert max(step.half_run for step in artifact.plan.steps) == 9
    assert artifact.verify().passed
