"""Bounds on what an ONNX file may ask for, checked before anything computes with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import onnx

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.inputs import LARGEST_TENSOR_ELEMENTS

_MOST_NODES = 1_000_000
# Of tensors of one dimension, which inference takes for lists of sizes; and of real such lists.
_LONGEST_LIST, _LONGEST_SHAPE = 1 << 22, 1 << 10
_PROPAGATING = frozenset(["Add", "Sub", "Mul"])
_LOOPS = frozenset(["Loop", "Scan"])


def messages(message: Any, kind: type) -> Iterator[Any]:
    """Yield every message of a kind at and below `message`, such as every TensorProto of a model.

    Wherever the format has room for one: subgraphs, functions, sparse tensors, training graphs.
    """
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if hasattr(value, "__len__") else [value]:
                yield from messages(item, kind)


def check_structure(model: onnx.ModelProto, where: str) -> None:
    """Check what the standard's own checker lets through.

    Raises:
        UnsupportedModelError: two versions of one operator set, no inputs or outputs, an output
            named twice, a loop, an attribute without value, or functions that expand to too many
            nodes.
    """
    domains = Counter(opset.domain.removeprefix("ai.onnx") for opset in model.opset_import)
    for domain, count in domains.items():
        if count > 1:
            name = domain or "ai.onnx"
            raise UnsupportedModelError(
                f"{where}: imports {count} versions of the operator set {name}, so its operators "
                "have no one meaning; export it again"
            )
    outputs = Counter(value.name for value in model.graph.output)
    if not outputs or max(outputs.values()) > 1:
        listed = ", ".join(outputs.elements()) or "none"
        raise UnsupportedModelError(
            f"{where}: its outputs are {listed}; edgeconv needs at least one, each of its own name"
        )
    for node in messages(model, onnx.NodeProto):
        if node.op_type in _LOOPS and node.domain in {"", "ai.onnx"}:
            raise UnsupportedModelError(
                f"{where}: {node.op_type} {node.name}: edgeconv compiles no loops, since their "
                "number of turns may depend on the data; export the network unrolled"
            )
    for attribute in messages(model.graph, onnx.AttributeProto):
        if attribute.ref_attr_name:
            raise UnsupportedModelError(
                f"{where}: the attribute {attribute.name} refers to one of a function, outside of "
                "any; export the file again"
            )
    _check_functions(model, where)


def _check_functions(model: onnx.ModelProto, where: str) -> None:
    """Refuse functions that call each other so that few lines become very many nodes."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(message: Any, callers: tuple[tuple[str, str], ...] = ()) -> int:
        total = 0
        for node in messages(message, onnx.NodeProto):
            key = (node.domain, node.op_type)
            if key in callers:
                raise UnsupportedModelError(f"{where}: the function {key[1]} calls itself")
            if key in functions and key not in sizes:
                sizes[key] = size(functions[key], (*callers, key))
            total += sizes.get(key, 1)
        return total

    nodes: float
    try:
        nodes = size(model.graph)
    except RecursionError:
        nodes = math.inf
    if nodes > _MOST_NODES:
        raise UnsupportedModelError(
            f"{where}: its functions expand to more than {_MOST_NODES:,} nodes; export the "
            "network without functions"
        )


def check_sizes(model: onnx.ModelProto, where: str) -> None:
    """Check every tensor whose size follows from the inputs' fixed shapes.

    Raises:
        UnsupportedModelError: a tensor has too many elements, or the shapes contradict each
            other.
    """
    plain = _inferred(model, where, values=False)
    _check_values(plain, where)
    _check_values(_inferred(_bounded(model, plain), where, values=True), where)


def _inferred(model: onnx.ModelProto, where: str, *, values: bool) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=values)
    except Exception as error:
        # Shape inference raises what the format's C++ code does.
        raise UnsupportedModelError(f"{where}: the shapes do not fit: {error}") from error


def _check_values(inferred: onnx.ModelProto, where: str) -> None:
    for value in messages(inferred, onnx.ValueInfoProto):
        sizes = value.type.tensor_type.shape.dim
        limit = _LONGEST_LIST if len(sizes) == 1 else LARGEST_TENSOR_ELEMENTS
        if math.prod(size.dim_value or 1 for size in sizes) > limit:
            shape = "x".join(str(size.dim_value or "?") for size in sizes)
            raise UnsupportedModelError(
                f"{where}: the tensor {value.name} has the shape {shape}, more than {limit:,} "
                "elements; give smaller inputs (--input-shape), or copy the file again if it is "
                "damaged"
            )


def _bounded(model: onnx.ModelProto, plain: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of equal shapes that can be inferred with values in bounded memory.

    Inference keeps every list that is added or multiplied as one that could be a shape, however
    long it is. So only lists known to be short stay so; a quotient has the shape of a sum.
    """
    short = {
        value.name
        for value in messages(plain, onnx.ValueInfoProto)
        if value.type.tensor_type.HasField("shape")
        and all(0 < d.dim_value <= _LONGEST_SHAPE for d in value.type.tensor_type.shape.dim[:1])
    }
    short |= {
        tensor.name
        for tensor in messages(plain, onnx.TensorProto)
        if max(tensor.dims, default=1) <= _LONGEST_SHAPE
    }
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in messages(copy, onnx.NodeProto):
        if node.op_type in _PROPAGATING and not short.issuperset(node.input):
            node.op_type = "Div"
    return copy
