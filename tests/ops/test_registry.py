import subprocess
import sys

import pytest
import torch

from edgeconv.errors import UsageError
from edgeconv.exporter import export
from edgeconv.frontend import load_source
from edgeconv.ops import Op, deform_conv, find, register, registered, registry, translations


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ADDED", {})


def test_own_operators_are_found_by_their_names() -> None:
    for op in registered():
        assert find(op.name) is op
    assert translations()["edgeconv::deform_conv2d"] is deform_conv._to_onnx
    assert find("Conv") is None


def test_finding_nothing_imports_no_torch() -> None:
    code = "import sys, edgeconv.ops as o; o.find('Conv'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_operator_may_become_standard_ones() -> None:
    from onnxscript import opset20

    @torch.library.custom_op("registry_test::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_fake(torch.empty_like)
    op = Op("twice", {"registry_test::twice": lambda x: opset20.Add(x, x)})
    register(op)
    assert registered()[-1] == op

    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return twice(x)

    exported = export(load_source(Network(), example_inputs=[torch.ones(2)]))
    assert [node.op_type for node in exported.model.graph.node] == ["Add"]


@pytest.mark.parametrize(
    "op",
    [
        Op("DeformConv", {"aten::add": lambda x: x}),
        Op("other", {"edgeconv::deform_conv2d": lambda x: x}),
    ],
)
def test_a_name_or_operator_is_taken_once(op: Op) -> None:
    with pytest.raises(UsageError, match="already registered as DeformConv"):
        register(op)


def test_what_is_compiled_must_be_runnable_elsewhere() -> None:
    with pytest.raises(UsageError, match="no ONNX function"):
        register(Op("example.Swish", convert=lambda builder, node, arguments: arguments[0]))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("Swish (x) => (y) { y = Sigmoid (x) }", "function of operator example.Swish"),
        ('<domain: "example"> Swish (x) => (y) { y = ', "not in ONNX's text format"),
        (
            '<domain: "example", opset_import: ["": 20]> Silu (x) => (y) { y = Sigmoid (x) }',
            r"defines example\.Silu",
        ),
    ],
)
def test_a_wrong_function_is_refused_at_once(function: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        register(Op("example.Swish", function=function))
