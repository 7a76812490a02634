"""What a converter is, and the two ways to make one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tvm import relax

from edgeconv.compiler.importer.node import Node

Arguments = Sequence[relax.Expr | None]
Convert = Callable[[relax.BlockBuilder, Node, Arguments], Any]
Refuse = Callable[[Node], str | None]


def _accept(node: Node) -> None:
    return None


@dataclass(frozen=True)
class Converter:
    """Turns one ONNX node into Relax.

    Attributes:
        convert: (builder, node, arguments) to one expression, or one per output.
        refuse: returns why a node cannot be converted, or None where it can.
        constants: positions of the inputs that must be constants, since shapes or code depend on
            their values.
    """

    convert: Convert
    refuse: Refuse = _accept
    constants: tuple[int, ...] = ()


@cache
def _tvm_table() -> dict[str, Any]:
    from tvm.relax.frontend.onnx import onnx_frontend

    return dict(onnx_frontend._get_convert_map())


def trusted(op: str, refuse: Refuse = _accept, constants: tuple[int, ...] = ()) -> Converter:
    """Use TVM's own converter for `op`: for operators whose results were compared and agreed."""

    def convert(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> Any:
        from tvm.relax.frontend.onnx.onnx_frontend import onnx_input

        inputs = onnx_input()
        for argument in arguments:
            inputs.append(argument)
        attributes = {
            name: value.encode() if isinstance(value, str) else _as_tuple(value)
            for name, value in node.attributes.items()
        }
        attributes["tvm_custom"] = {"name": node.name, "num_outputs": len(node.outputs)}
        convert_op = _tvm_table()[op].get_converter(node.opset)
        return builder.normalize(convert_op(builder, inputs, attributes, [{}, {}]))

    return Converter(convert, refuse, constants)


def computed(
    builder: relax.BlockBuilder,
    compute: Callable[..., Any],
    tensors: Sequence[relax.Expr | None],
    *options: Any,
    attributes: dict[str, Any] | None = None,
) -> relax.Expr:
    """Return a call of a kernel of our own, which computes `compute(*tensors, *options)`.

    Later passes know it by its attributes.
    """
    return builder.call_te(
        lambda *arguments: compute(*arguments, *options),
        *tensors,
        primfunc_name_hint=compute.__name__,
        primfunc_attrs=attributes,
    )


def dtype_of(tensor: Any) -> str:
    """Return the element type of a tensor expression."""
    return str(tensor.ty.dtype)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
