"""Walks an ONNX graph node by node and builds a Relax function with the graph's own names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, shape_inference
from tvm import relax

from edgeconv.compiler.graph import Graph, Value
from edgeconv.compiler.importer.node import Node
from edgeconv.compiler.importer.table import find_converter
from edgeconv.errors import UnsupportedModelError
from edgeconv.ops import op_name

DEFAULT_DOMAINS = ("", "ai.onnx")


def read_nodes(model: onnx.ModelProto) -> list[Node]:
    """Return the graph's nodes with shapes, constants and attributes resolved.

    Raises UnsupportedModelError where the shape of an input is open.
    """
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    graph = inferred.graph
    opset = next(
        (entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), 1
    )
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant_value(node)
    shapes = {info.name: _shape(info) for info in [*graph.input, *graph.value_info, *graph.output]}
    return [
        Node(
            name=node.name or f"{node.op_type}_{index}",
            op=op_name(node),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
            opset=opset,
            constants=constants,
            shapes=shapes,
        )
        for index, node in enumerate(graph.node)
        if node.op_type != "Constant"
    ]


def unsupported(model: onnx.ModelProto) -> dict[str, str]:
    """Return why each node that cannot be compiled is refused, by node name."""
    return {
        node.name: reason for node in read_nodes(model) if (reason := _refusal(node)) is not None
    }


def import_onnx(model: onnx.ModelProto) -> Graph:
    """Convert a checked ONNX model with static shapes to Relax.

    Raises:
        UnsupportedModelError: naming every node that is not supported, and why.
    """
    nodes = read_nodes(model)
    refused = [(node, reason) for node in nodes if (reason := _refusal(node)) is not None]
    if refused:
        lines = "\n".join(f"  {node.name} ({node.op}): {reason}" for node, reason in refused)
        raise UnsupportedModelError(
            f"{len(refused)} of {len(nodes)} operators are not supported:\n{lines}\n"
            "`edgeconv inspect MODEL --target NAME` lists every layer with its state."
        )
    return _Builder(model).build(nodes)


def _refusal(node: Node) -> str | None:
    converter = find_converter(node.op)
    if converter is None:
        return "no converter for this operator"
    if any(name and not _is_static(node.shapes.get(name)) for name in node.inputs_computed()):
        return "the shape of an input is not known; give --input-shape or simplify the model"
    return converter.refuse(node)


def _is_static(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and all(size > 0 for size in shape)


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape of a value; open dimensions are -1."""
    return tuple(
        dimension.dim_value if dimension.HasField("dim_value") else -1
        for dimension in info.type.tensor_type.shape.dim
    )


def _constant_value(node: onnx.NodeProto) -> npt.NDArray[Any]:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    dtype = np.float32 if attribute.name.startswith("value_float") else np.int64
    return np.array(value, dtype)


class _Builder:
    """Emits one named binding per ONNX value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._builder = relax.BlockBuilder()
        self._expressions: dict[str, relax.Expr] = {}
        self._values: dict[str, Value] = {}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._names: set[str] = set()
        self._constants: Mapping[str, npt.NDArray[Any]] = {}
        graph = model.graph
        self._read = {name for node in graph.node for name in node.input if name}
        self._read |= {info.name for info in graph.output}

    def build(self, nodes: Sequence[Node]) -> Graph:
        graph = self._model.graph
        initialised = {tensor.name for tensor in graph.initializer}
        parameters = []
        for info in graph.input:
            if info.name in initialised:
                continue
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name
            name = self._variable_name(info.name)
            variable = relax.Var(name, relax.TensorType(_shape(info), dtype))
            self._record(variable, info.name, ())
            parameters.append(variable)
        with self._builder.function("main", parameters):
            with self._builder.dataflow():
                for node in nodes:
                    self._emit(node)
                outputs = [self._expression(info.name) for info in graph.output]
                result = self._builder.emit_output(relax.Tuple(outputs))
            self._builder.emit_func_output(result)
        return Graph(self._builder.get(), self._values, self._layers)

    def _expression(self, name: str) -> relax.Expr:
        if name not in self._expressions:
            constant = self._constants[name]
            self._expressions[name] = relax.const(constant, str(constant.dtype))
        return self._expressions[name]

    def _emit(self, node: Node) -> None:
        self._constants = node.constants
        arguments = [self._expression(name) if name else None for name in node.inputs]
        converter = find_converter(node.op)
        assert converter is not None, "the others are refused before"
        result = converter.convert(self._builder, node, arguments)
        # An operator may have more results than the node asks for.
        results = self._unpacked(result)[: len(node.outputs)]
        for name, expression in zip(node.outputs, results, strict=True):
            if name not in self._read:
                continue
            variable = self._builder.emit(expression, self._variable_name(name))
            self._record(variable, name, (node.name,))

    def _unpacked(self, result: relax.Expr | list[relax.Expr]) -> list[relax.Expr]:
        """Return the fields of a tuple, or the one tensor that it is."""
        if isinstance(result, list):
            return result
        result = self._builder.normalize(result)
        if isinstance(result, relax.Tuple):
            return list(result.fields)
        if not isinstance(result.ty, relax.TupleType):
            return [result]
        bound = self._builder.emit(result)
        return [relax.TupleGetItem(bound, i) for i in range(len(bound.ty.fields))]

    def _record(self, variable: relax.Var, name: str, layers: tuple[str, ...]) -> None:
        self._expressions[name] = variable
        shape = tuple(int(size) for size in variable.ty.shape)
        self._values[variable.name] = Value(name, shape)
        self._layers[variable.name] = layers

    def _variable_name(self, name: str) -> str:
        """Return a unique identifier for an ONNX value's name."""
        base = "v_" + re.sub(r"\W", "_", name)
        unique, count = base, 1
        while unique in self._names:
            unique, count = f"{base}_{count}", count + 1
        self._names.add(unique)
        return unique
