"""Walks an ONNX graph node by node and builds a Relax function with the graph's own names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from tvm import relax

from edgeconv.compiler.graph import Graph, Value
from edgeconv.compiler.importer.half import in_single, rounded
from edgeconv.compiler.importer.node import Node
from edgeconv.compiler.importer.table import find_converter
from edgeconv.errors import UnsupportedModelError
from edgeconv.exporter.definitions import spell_out
from edgeconv.exporter.opset import opset_of
from edgeconv.exporter.tidy import fold, infer
from edgeconv.ops import find, op_name

DTYPES = frozenset(
    [
        *("float16", "float32", "float64", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    ]
)
Constants = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Read:
    """A graph with everything resolved that converters ask for."""

    nodes: list[Node]
    constants: Constants


def _read(model: onnx.ModelProto) -> _Read:
    """Return the nodes with shapes, constants and attributes resolved.

    Operators that have a definition but no converter are replaced by their definition.

    Raises UnsupportedModelError where shapes do not fit.
    """
    plain, owners = spell_out(model, lambda node: find_converter(op_name(node)) is None)
    if owners:
        plain = fold(infer(plain, model.graph.name), model.graph.name)
    plain = infer(plain, model.graph.name)
    graph = plain.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant_value(node)
    infos = [*graph.input, *graph.value_info, *graph.output]
    dtypes = {tensor.name: _dtype(tensor.data_type) for tensor in graph.initializer}
    nodes = [
        Node(
            name=node.name,
            layer=owners.get(node.name, node.name),
            op=op_name(node),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
            opset=opset_of(model),
            constants=constants,
            shapes={info.name: _shape(info) for info in infos},
            dtypes=dtypes | {info.name: _dtype(info.type.tensor_type.elem_type) for info in infos},
        )
        for node in graph.node
        if node.op_type != "Constant"
    ]
    return _Read(nodes, constants)


def unsupported(model: onnx.ModelProto) -> dict[str, str]:
    """Return why each node that cannot be compiled is refused, by node name."""
    return {
        node.layer: reason if node.layer == node.name else f"needs {node.op}: {reason}"
        for node in _read(model).nodes
        if (reason := _refusal(node)) is not None
    }


def import_onnx(model: onnx.ModelProto) -> Graph:
    """Convert a checked ONNX model with static shapes to Relax.

    Raises:
        UnsupportedModelError: naming every node that is not supported, and why.
    """
    _refuse_empty(model)
    read = _read(model)
    refused = [(node, reason) for node in read.nodes if (reason := _refusal(node)) is not None]
    if refused:
        lines = "\n".join(f"  {node.name} ({node.op}): {reason}" for node, reason in refused)
        raise UnsupportedModelError(
            f"{len(refused)} of {len(read.nodes)} operators are not supported:\n{lines}\n"
            "`edgeconv inspect MODEL --target NAME` lists every layer with its state."
        )
    return _Builder(model, read).build()


def _refuse_empty(model: onnx.ModelProto) -> None:
    for info in (*model.graph.input, *model.graph.output):
        if 0 in _shape(info):
            raise UnsupportedModelError(f"{info.name} is empty: its shape is {_shape(info)}")


def _refusal(node: Node) -> str | None:
    converter = find_converter(node.op)
    if converter is None:
        return "no converter for this operator"
    for name in node.inputs_computed():
        if 0 in node.shapes.get(name, ()):
            return f"{name} is empty: its shape is {node.shapes[name]}"
    # A part of a Split may be empty, where nothing reads it.
    for name in (*node.inputs_computed(), *filter(None, node.outputs)):
        if not _is_static(node.shapes.get(name)):
            return f"the shape of {name} is not known; give --input-shape or simplify the model"
    for name in filter(None, (*node.inputs, *node.outputs)):
        if node.dtypes.get(name) not in DTYPES:
            return f"elements of type {node.dtypes.get(name)} are not supported"
    for index in converter.constants:
        if node.has_input(index) and node.constant(index) is None:
            return f"input {index} ({node.inputs[index]}) must be a constant, not computed"
    return converter.refuse(node)


def _is_static(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and min(shape, default=0) >= 0


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape of a value; open dimensions are -1."""
    return tuple(
        dimension.dim_value if dimension.HasField("dim_value") else -1
        for dimension in info.type.tensor_type.shape.dim
    )


def _check_type(node: Node, name: str, variable: relax.Var) -> None:
    """Refuse a result that is not what ONNX says: the operator was converted for something else."""
    got = tuple(int(size) for size in variable.ty.shape), str(variable.ty.dtype)
    want = node.shapes[name], node.dtypes[name]
    if got != want:
        raise UnsupportedModelError(
            f"{node.layer} ({node.op}): {name} must be {want[1]} {want[0]}, but converting the "
            f"operator gives {got[1]} {got[0]}; its attributes or types are not supported"
        )


def _dtype(element_type: int) -> str:
    """Return NumPy's name of an element type, or ONNX's for types that NumPy lacks."""
    return str(onnx.helper.tensor_dtype_to_np_dtype(element_type).name)


def _constant_value(node: onnx.NodeProto) -> npt.NDArray[Any]:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    dtype = np.float32 if attribute.name.startswith("value_float") else np.int64
    return np.array(value, dtype)


class _Recorder(relax.BlockBuilder):  # type: ignore[misc]  # TVM is untyped
    """A block builder that names and notes what a converter emits on the way to its results."""

    prefix = ""

    def __init__(self) -> None:
        super().__init__()
        self.emitted: list[str] = []

    def emit(self, expr: relax.Expr, name_hint: str = "") -> relax.Var:
        """Bind an expression to a variable."""
        variable = super().emit(expr, name_hint or self.prefix)
        self.emitted.append(variable.name)
        return variable


class _Builder:
    """Emits one named binding per ONNX value, and those that lead to it."""

    def __init__(self, model: onnx.ModelProto, read: _Read) -> None:
        self._model = model
        self._builder = _Recorder()
        self._expressions: dict[str, relax.Expr] = {}
        self._values: dict[str, Value] = {}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._families: dict[str, str] = {}
        self._names: set[str] = set()
        self._nodes, self._constants = read.nodes, read.constants
        graph = model.graph
        self._read = {name for node in read.nodes for name in node.inputs if name}
        self._read |= {info.name for info in graph.output}
        # Values inside an operator's definition have no name that a reader of the model knows.
        self._known = {info.name for info in graph.input}
        self._known |= {name for node in graph.node for name in node.output}

    def build(self) -> Graph:
        graph = self._model.graph
        initialised = {tensor.name for tensor in graph.initializer}
        parameters = []
        for info in graph.input:
            if info.name in initialised:
                continue
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name
            name = self._variable_name(info.name)
            variable = relax.Var(name, relax.TensorType(_shape(info), dtype))
            self._record(variable, info.name)
            parameters.append(variable)
        with self._builder.function("main", parameters):
            with self._builder.dataflow():
                for node in self._nodes:
                    self._emit(node)
                outputs = [self._expression(info.name) for info in graph.output]
                result = self._builder.emit_output(relax.Tuple(outputs))
            self._builder.emit_func_output(result)
        return Graph(self._builder.get(), self._values, self._layers, families=self._families)

    def _expression(self, name: str) -> relax.Expr:
        if name not in self._expressions:
            constant = self._constants[name]
            self._expressions[name] = relax.const(constant, str(constant.dtype))
        return self._expressions[name]

    def _emit(self, node: Node) -> None:
        arguments = [self._expression(name) if name else None for name in node.inputs]
        converter = find_converter(node.op)
        assert converter is not None, "the others are refused before"
        first = next(filter(None, node.outputs))
        self._builder.prefix = self._variable_name(f"{first}_part")
        self._builder.emitted.clear()
        try:
            result = converter.convert(self._builder, *in_single(self._builder, node, arguments))
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            # What TVM raises for types and attributes that an operator of its own does not take.
            raise UnsupportedModelError(
                f"{node.layer} ({node.op}) cannot be converted: {str(error).splitlines()[-1]}"
            ) from error
        # An operator may have more results than the node asks for.
        results = self._unpacked(result)[: len(node.outputs)]
        for name, expression in zip(node.outputs, results, strict=True):
            if name not in self._read:
                continue
            value = rounded(self._builder, expression, node.dtypes[name])
            variable = self._builder.emit(value, self._variable_name(name))
            _check_type(node, name, variable)
            self._record(variable, name)
        op = find(node.op)
        for variable in self._builder.emitted:
            self._layers[variable] = (node.layer,)
            if op is not None:
                self._families[variable] = op.family

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

    def _record(self, variable: relax.Var, name: str) -> None:
        self._expressions[name] = variable
        shape = tuple(int(size) for size in variable.ty.shape)
        if name in self._known:
            self._values[variable.name] = Value(name, shape)

    def _variable_name(self, name: str) -> str:
        """Return a unique identifier for an ONNX value's name."""
        base = "v_" + re.sub(r"\W", "_", name)
        unique, count = base, 1
        while unique in self._names:
            unique, count = f"{base}_{count}", count + 1
        self._names.add(unique)
        return unique
