"""`Op`: an operator kept whole from PyTorch through ONNX to the compiled kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeconv.errors import UsageError

if TYPE_CHECKING:
    import onnx

    from edgeconv.exporter.graph import ValueType

    Measure = Callable[[onnx.NodeProto, Mapping[str, ValueType]], int]
    FunctionText = str | Callable[[onnx.NodeProto], str]

_STANDARD_DOMAINS = ("", "ai.onnx")
# Of every custom domain; a changed operator takes a new name.
_VERSION = 1


def _one_term(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return 1


def _no_products(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return 0


def _accept(node: Any) -> None:
    return None


@dataclass(frozen=True)
class Op:
    """One ONNX operator, and everything that edgeconv has to know of it.

    Attributes:
        name: the ONNX operator: "DeformConv", or with its domain "edgeconv.SelectiveKernel".
        translations: by PyTorch operator ("namespace::name", its default overload), a function
            that takes the operator's arguments as ONNX values, emits nodes by `emit` or by
            `onnxscript`'s operator sets, and returns the result.
        function: body of an operator in a custom domain, an ONNX function in ONNX's text format
            over standard operators, so that any ONNX runtime runs the exported file; a callable
            gives the body for a node. None for a standard operator.
        convert: (builder, node, arguments) to Relax, as `edgeconv.compiler.importer.Converter`
            has it. None where the translations emit other operators only.
        refuse: why a node (`edgeconv.compiler.importer.Node`) cannot be compiled; None where it
            can.
        constants: positions of the inputs that must be constants of the model.
        family: kernel family in reports.
        accumulation_length: how many products or terms one element of the result sums, for its
            tolerance; 0 where nothing is rounded.
        macs: multiply-accumulates of a node.
    """

    name: str
    translations: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    function: FunctionText | None = None
    convert: Callable[..., Any] | None = None
    refuse: Callable[..., str | None] = _accept
    constants: tuple[int, ...] = ()
    family: str = "custom"
    accumulation_length: Measure = _one_term
    macs: Measure = _no_products

    def function_proto(self, node: onnx.NodeProto) -> onnx.FunctionProto | None:
        """Return the body of `node`, an operator of this kind; None for a standard operator.

        Raises:
            UsageError: the text is not in ONNX's text format, or defines another operator.
        """
        import onnx

        if self.function is None:
            return None
        text = self.function if isinstance(self.function, str) else self.function(node)
        try:
            function: onnx.FunctionProto = onnx.parser.parse_function(text)
        except onnx.parser.ParseError as error:
            raise UsageError(
                f"the function of operator {self.name} is not in ONNX's text format: {error}"
            ) from error
        defined = f"{function.domain}.{function.name}"
        if defined != self.name:
            raise UsageError(f"the function of operator {self.name} defines {defined}")
        return function


def op_name(node: onnx.NodeProto) -> str:
    """Return what an `Op` of this node is called: its type, after its domain if not standard."""
    return node.op_type if node.domain in _STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"


def emit(name: str, *inputs: Any, **attributes: Any) -> Any:
    """Emit one node of an operator in a custom domain, from a translation.

    Args:
        name: domain and operator, such as "edgeconv.SelectiveKernel".
        inputs: ONNX values.
        attributes: int, float, str, or lists of them.

    Returns:
        The node's only output.
    """
    from onnx.defs import OpSchema
    from onnxscript.values import Op as OnnxscriptOp
    from onnxscript.values import Opset

    domain, _, op_type = name.rpartition(".")
    option = OpSchema.FormalParameterOption
    schema = OpSchema(
        op_type,
        domain,
        _VERSION,
        inputs=[
            OpSchema.FormalParameter(
                "inputs", "T", param_option=option.Variadic, is_homogeneous=False
            )
        ],
        outputs=[OpSchema.FormalParameter("output", "T")],
        type_constraints=[("T", _tensor_types(), "")],
        attributes=[
            OpSchema.Attribute(key, _attribute_type(value), "", required=False)
            for key, value in attributes.items()
        ],
    )
    return OnnxscriptOp(Opset(domain, _VERSION), op_type, schema)(*inputs, **attributes)


def _tensor_types() -> list[str]:
    from onnx.defs import get_schema

    # Identity takes every type.
    return sorted(get_schema("Identity", 13).type_constraints[0].allowed_type_strs)


def _attribute_type(value: Any) -> Any:
    from onnx.defs import OpSchema

    one = value[0] if isinstance(value, list | tuple) else value
    kind = {int: "INT", bool: "INT", float: "FLOAT", str: "STRING"}[type(one)]
    return getattr(OpSchema.AttrType, kind + "S" * isinstance(value, list | tuple))
