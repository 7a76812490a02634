"""ONNX functions of a model: those of registered operators stay whole, all others are inlined."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import inliner

from edgeconv.errors import UnsupportedModelError
from edgeconv.exporter.opset import opset_of, raised
from edgeconv.exporter.output_padding import settle_output_padding
from edgeconv.ops import find, op_name, op_of


def refuse_unknown_operators(model: onnx.ModelProto, origin: str) -> None:
    """Refuse operators that neither ONNX, nor the model's functions, nor the registry defines.

    Raises:
        UnsupportedModelError: naming each.
    """
    own = {_identity(function) for function in model.functions}
    unknown = {
        op_name(node)
        for node in _nodes(model)
        if not onnx.defs.has(node.op_type, node.domain)
        and _called(node) not in own
        and op_of(node) is None
    }
    if unknown:
        raise UnsupportedModelError(
            f"{origin}: the operators {', '.join(sorted(unknown))} are not ONNX's, and the file "
            "holds no functions that say what they compute; docs/add-an-op.md shows how to "
            "register them"
        )


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without functions: calls of those that are not registered are inlined."""
    if not model.functions:
        return model
    kept = [(f.domain, f.name) for f in model.functions if find(f"{f.domain}.{f.name}")]
    plain: onnx.ModelProto = inliner.inline_selected_functions(model, kept, exclude=True)
    del plain.functions[:]
    return plain


def runnable(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Return a copy of the model that ONNX Runtime takes.

    It has the functions of registered operators, and a strict form of transposed convolutions.

    Raises:
        UnsupportedModelError: it has operators that nothing defines, or lacks functions and is of
            an older opset that it cannot be converted from.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    refuse_unknown_operators(copy, origin)
    if _lacks_function(copy):
        copy = raised(copy, origin)
    attach_functions(copy)
    settle_output_padding(copy)
    return copy


def _lacks_function(model: onnx.ModelProto) -> bool:
    own = {_identity(function) for function in model.functions}
    for node in model.graph.node:
        op = op_of(node)
        if op is not None and op.function is not None and _called(node) not in own:
            return True
    return False


def attach_functions(model: onnx.ModelProto) -> None:
    """Give every call of a registered operator its function, where the model has none for it."""
    known = {_identity(function) for function in model.functions}
    for node in model.graph.node:
        op = op_of(node)
        function = None if op is None else op.function_proto(node)
        if function is None:
            continue
        _use_version(function, opset_of(model))
        node.overload = function.overload
        if _identity(function) not in known:
            known.add(_identity(function))
            model.functions.append(function)
    _import_domains(model)


def _use_version(function: onnx.FunctionProto, version: int) -> None:
    """Let the body use the model's version of the standard's operators, as the checker wants."""
    for opset in function.opset_import:
        if not opset.domain:
            opset.version = version


def _import_domains(model: onnx.ModelProto) -> None:
    """Declare the domains of the functions; optimisers drop or forget them."""
    declared = {opset.domain for opset in model.opset_import}
    for domain in sorted({function.domain for function in model.functions} - declared):
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def _identity(function: onnx.FunctionProto) -> tuple[str, str, str]:
    return function.domain, function.name, function.overload


def _called(node: onnx.NodeProto) -> tuple[str, str, str]:
    return node.domain, node.op_type, node.overload


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, those of functions and subgraphs included."""
    pending = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    while pending:
        node = pending.pop()
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                pending.extend(graph.node)
