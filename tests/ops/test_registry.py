import pytest
import torch

from edgeconv.errors import UsageError
from edgeconv.ops import Op, deform_conv, register, registered, translation_table
from edgeconv.ops import registry as registry_module


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_OPS", dict(registry_module._OPS))


def test_the_table_maps_overloads_to_translations() -> None:
    assert translation_table() == {torch.ops.edgeconv.deform_conv2d.default: deform_conv.OP.to_onnx}


def test_an_operator_from_outside_is_translated() -> None:
    from onnxscript import opset20

    @torch.library.custom_op("registry_test::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_fake(torch.empty_like)
    op = Op("twice", torch.ops.registry_test.twice.default, lambda x: opset20.Add(x, x))
    register(op)
    assert registered()[-1] == op

    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return twice(x)

    exported = torch.onnx.export(
        Network().eval(),
        (torch.ones(2),),
        dynamo=True,
        custom_translation_table=translation_table(),
        verbose=False,
    )
    assert [node.op_type for node in exported.model_proto.graph.node] == ["Add"]


@pytest.mark.parametrize(
    "op",
    [
        Op(deform_conv.OP.name, torch.ops.aten.add.Tensor, lambda x: x),
        Op("other", deform_conv.OP.torch_op, lambda x: x),
    ],
)
def test_a_name_or_overload_is_taken_once(op: Op) -> None:
    with pytest.raises(UsageError, match="already registered"):
        register(op)
