"""Tensors stored in half precision, on a GPU's kernels by this machine's OpenCL driver."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import edgeconv
from edgeconv.cli.app import app
from edgeconv.errors import NumericError, UsageError
from edgeconv.exporter import beyond_half, export, tolerance
from edgeconv.frontend import load_source
from edgeconv.nn import DynamicConv2d
from edgeconv.plan import Space
from edgeconv.precision import Precision

TARGET = "mali-g610"
# Of a stored number, relative.
HALF_UNIT = 2.0**-11


def image(*shape: int) -> tuple[torch.Tensor]:
    return (torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32)),)


class Wide(nn.Module):
    """A value of about `size` between two layers."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.up, self.down = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 4, 1)
        with torch.no_grad():
            self.up.weight *= size
            self.down.weight /= size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x))


@pytest.mark.parametrize("name", ["mobilenet_v2", "deformable_resnet18", "sknet18", "r2plus1d10"])
def test_networks_within_the_tolerance_of_half_precision(name: str) -> None:
    half = edgeconv.compile(f"zoo:{name}/tiny", target=TARGET, precision="fp16")
    report = half.verify(per_layer=True)
    assert report.passed, report.to_json()
    single = edgeconv.compile(f"zoo:{name}/tiny", target=TARGET)
    assert single.verify().passed
    # It is rounded, and a tolerance that would let anything pass shows here.
    for result in report.outputs:
        assert single.manifest.outputs[0].tolerance < result.metrics.max_rel
        assert HALF_UNIT < result.tolerance < 1e-2
    assert half.plan.weights_bytes < 0.7 * single.plan.weights_bytes
    assert half.plan.arena_bytes < 0.7 * single.plan.arena_bytes


def test_inputs_outputs_and_arithmetic_stay_in_single_precision() -> None:
    net = nn.Sequential(nn.Conv2d(512, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    artifact = edgeconv.compile(net, image(1, 512, 3, 5), target=TARGET, precision="fp16")
    types = {(buffer.space, buffer.dtype) for buffer in artifact.plan.buffers}
    assert {dtype for space, dtype in types if space in (Space.INPUT, Space.OUTPUT)} == {"float32"}
    assert (Space.ARENA, "float16") in types
    # Sums of halves would be off by more.
    (result, _) = artifact.verify().outputs
    assert result.metrics.max_rel < 4 * HALF_UNIT


def test_an_input_is_rounded_where_an_exact_operator_has_it_stored() -> None:
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3)).eval()
    artifact = edgeconv.compile(net, image(1, 8, 12, 12), target=TARGET, precision="fp16")
    report = artifact.verify(per_layer=True)
    assert report.passed, report.to_json()
    assert all(step.tolerance < 2e-2 for step in report.steps)


def test_what_half_precision_cannot_hold_is_named_and_kept_by_mixed() -> None:
    net, inputs = Wide(1e6).eval(), image(1, 3, 9, 9)
    report = edgeconv.compile(net, inputs, target=TARGET, precision="fp16").verify()
    with pytest.raises(NumericError, match=r"'up' is beyond 65504.*--precision mixed"):
        report.raise_if_failed()
    assert report.first_divergence is not None
    assert report.first_divergence.overflow
    assert edgeconv.compile(net, inputs, target=TARGET, precision="mixed").verify().passed


def test_tensors_of_two_precisions_are_joined_and_padded() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large, self.small = Wide(1e6), nn.Conv2d(3, 8, 3)
            self.last = nn.Conv2d(16, 4, 3, padding=1)
            with torch.no_grad():
                self.last.weight[:, :8] *= 1e-6

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.cat([self.large.up(x), self.small(x)], 1))

    artifact = edgeconv.compile(
        Joined().eval(), image(1, 3, 9, 9), target=TARGET, precision="mixed"
    )
    types = {buffer.dtype for buffer in artifact.plan.buffers if buffer.space is Space.ARENA}
    assert types == {"float16", "float32"}
    assert artifact.verify().passed


@pytest.mark.parametrize(
    ("size", "kept"), [(1.0, set()), (1e6, {"up"}), (1e-8, {"up"}), (3e4, {"up"})]
)
def test_values_near_the_limits_are_kept(size: float, kept: set[str]) -> None:
    exported = export(load_source(Wide(size).eval(), example_inputs=image(1, 3, 9, 9)))
    cases = [case.inputs for case in exported.golden]
    assert beyond_half(exported.model, cases) == kept


def test_logits_and_offsets_are_kept() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(x @ x.transpose(1, 2), -1) @ x

    exported = export(load_source(Attention().eval(), example_inputs=image(1, 5, 8)))
    (softmax,) = (node for node in exported.model.graph.node if node.op_type == "Softmax")
    assert beyond_half(exported.model, []) == {softmax.input[0]}


def test_a_tolerance_follows_from_the_rounding_of_the_layers() -> None:
    net = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(6))).eval()
    exported = export(load_source(net, example_inputs=image(1, 4, 6, 6)))
    cases = [case.inputs for case in exported.golden]
    (limit,) = tolerance(exported.model, cases, Precision.FP16).values()
    layers = [(layer.weight.detach().half().float(), layer.bias.detach()) for layer in net]
    for case in exported.golden:
        x = torch.from_numpy(next(iter(case.inputs.values())))
        for weight, bias in layers:
            x = torch.nn.functional.conv2d(x, weight, bias, padding=1).half().float()
        want = next(iter(case.outputs.values()))
        error = float(np.abs(x.numpy() - want).max() / np.abs(want).max())
        assert limit / 20 < error <= limit


def test_cpus_and_unknown_precisions_are_refused() -> None:
    net, inputs = nn.Conv2d(3, 4, 1).eval(), image(1, 3, 4, 4)
    with pytest.raises(UsageError, match="'rasp4' is a CPU"):
        edgeconv.compile(net, inputs, target="rasp4", precision="fp16")
    with pytest.raises(UsageError, match="fp32, fp16, mixed"):
        edgeconv.compile(net, inputs, target=TARGET, precision="int4")


def test_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "net.edge"
    command = ["compile", "zoo:mobilenet_v2/tiny", "--target", TARGET, "--precision", "fp16"]
    result = CliRunner().invoke(app, [*command, "--json", "-o", str(path)])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["precision"], summary["verified"]) == ("fp16", True)
    assert edgeconv.Artifact.load(path).manifest.precision is Precision.FP16


def test_weights_that_are_reshaped_before_they_are_mixed() -> None:
    net = DynamicConv2d(12, 14, 5, 1, dilation=2, groups=2, bias=False, experts=5, reduction=0.5)
    artifact = edgeconv.compile(net.eval(), image(3, 12, 14, 14), target=TARGET, precision="fp16")
    assert artifact.verify().passed
