"""Makes PyTorch's two exporters use our translations: of registered operators, and of attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeconv.exporter.attention import scaled_dot_product_attention
from edgeconv.ops import translations

if TYPE_CHECKING:
    import onnx
    import torch

_SUFFIXES = {int: "i", float: "f", str: "s"}


def translation_table() -> dict[Any, Callable[..., Any]]:
    """Return what `torch.onnx.export` takes as `custom_translation_table`.

    Operators that are not loaded into PyTorch are left out: no program can hold them.
    """
    import torch

    attention = torch.ops.aten.scaled_dot_product_attention.default
    return {attention: scaled_dot_product_attention, **dict(_loaded())}


@contextmanager
def registered_symbolics(opset: int) -> Iterator[None]:
    """Let the exporter of TorchScript, too, use the translations, inside of the context."""
    from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

    symbolics = {o._schema.name: _symbolic(o, to_onnx) for o, to_onnx in _loaded()}
    for name, symbolic in symbolics.items():
        register_custom_op_symbolic(name, symbolic, opset)
    try:
        yield
    finally:
        for name in symbolics:
            unregister_custom_op_symbolic(name, opset)


def _loaded() -> Iterator[tuple[Any, Callable[..., Any]]]:
    """Yield the PyTorch overload and the translation of every operator that is loaded."""
    import torch

    for name, to_onnx in translations().items():
        namespace, _, operator = name.partition("::")
        packet = getattr(getattr(torch.ops, namespace), operator, None)
        if packet is not None:
            yield packet.default, to_onnx


def _symbolic(overload: Any, to_onnx: Callable[..., Any]) -> Callable[..., Any]:
    """Return `to_onnx` in the form that the exporter of TorchScript calls."""
    formals = overload._schema.arguments

    def symbolic(graph: Any, *values: torch._C.Value) -> Any:
        from onnxscript.evaluator import default_as

        evaluator: Any = _GraphEvaluator(graph)
        arguments = [_argument(v, str(f.type)) for v, f in zip(values, formals, strict=True)]
        by_name = {f.name: a for f, a in zip(formals, arguments, strict=True) if f.kwarg_only}
        with default_as(evaluator):
            return to_onnx(*arguments[: len(arguments) - len(by_name)], **by_name)

    return symbolic


def _argument(value: torch._C.Value, kind: str) -> Any:
    """Return a tensor's value, a list of them, a constant of Python, or None."""
    from torch.onnx import symbolic_helper

    if value.node().mustBeNone():
        return None
    scalar = kind.removeprefix("Optional[").removeprefix("List[").rstrip("]")
    if scalar == "Tensor":
        return symbolic_helper._unpack_list(value) if "List[" in kind else value
    descriptor: Any = scalar[0] + "s" * ("List[" in kind)
    return symbolic_helper._parse_arg(value, descriptor)


class _GraphEvaluator:
    """What `onnxscript` calls for each operator of a translation; adds nodes to a graph."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def eval(
        self, schema: onnx.defs.OpSchema, inputs: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Add a node and return its output; inputs left out are None."""
        named = {
            f"{name}_{_suffix(value)}": value
            for name, value in attributes.items()
            if value is not None
        }
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        domain = schema.domain or "onnx"
        return self._graph.op(f"{domain}::{schema.name}", *map(self._or_none, given), **named)

    def _or_none(self, value: Any) -> Any:
        return self._graph.op("prim::Constant") if value is None else value


def _suffix(value: Any) -> str:
    one = value[0] if isinstance(value, list | tuple) else value
    return _SUFFIXES[type(one)]
