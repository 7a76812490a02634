"""An exporter's ONNX made plain: static shapes, folded constants, stable names, no metadata."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir as ir

from edgeconv.errors import UnsupportedModelError
from edgeconv.exporter.ceil_mode import settle_pools
from edgeconv.exporter.definitions import fill_defaults, spell_out
from edgeconv.exporter.functions import attach_functions, inlined
from edgeconv.exporter.opset import opset_of, raised
from edgeconv.exporter.output_padding import settle_output_padding
from edgeconv.exporter.shapes import complete
from edgeconv.frontend.onnx_file import fix_shape
from edgeconv.frontend.quiet import quiet

_LARGEST_FOLDED = 2**26
# Shapes, sizes, axes and scales have fewer elements.
_LARGEST_SHAPE = 1024
_RECURRENT = frozenset(["GRU", "LSTM", "RNN"])
_ARRANGING = frozenset(
    ["Concat", "Identity", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"]
)
# Layers of constants, such as of encoded positions, are not left to every run of the network.
_HEAVY = frozenset(
    ["AveragePool", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul", "MaxPool"]
)
_SCOPES = "pkg.torch.onnx.name_scopes"


def tidy(
    model: onnx.ModelProto, example_inputs: Mapping[str, npt.NDArray[Any]], origin: str
) -> onnx.ModelProto:
    """Return a model that computes the same, with every shape known; `model` stays as it is.

    Nodes from PyTorch are named after the module that they belong to, and so are their values;
    other models keep their value names. Functions are inlined, but for those of registered
    operators, which get the registry's body.

    Raises:
        UnsupportedModelError: a shape depends on the data, or the result is not valid.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for value in plain.graph.input:
        fix_shape(value, example_inputs[value.name].shape)
    plain = raised(inlined(plain), origin)
    fill_defaults(plain)
    plain = fold(infer(plain, origin), origin)
    while _evaluate_several(plain):
        plain = fold(infer(plain, origin), origin)
    if settle_output_padding(plain):
        plain = fold(infer(plain, origin), origin)
    plain = _spelled_out(infer(plain, origin), origin)
    _name(plain)
    _order_constants(plain.graph)
    _strip(plain)
    plain.producer_name = "edgeconv"
    plain.ClearField("producer_version")
    plain = infer(plain, origin)
    _refuse_shapes(plain, origin)
    try:
        onnx.checker.check_model(plain, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UnsupportedModelError(f"{origin}: the ONNX model is not valid: {error}") from error
    return plain


def infer(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Infer every shape anew from the inputs' shapes, through functions; changes `model`.

    Raises:
        UnsupportedModelError: the shapes do not fit each other.
    """
    attach_functions(model)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    settle_pools(model)
    try:
        inferred = _with_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise UnsupportedModelError(f"{origin}: the shapes do not fit: {error}") from error
    # Inference looks at nodes only; folding leaves outputs that are constants.
    constants = {tensor.name: tensor for tensor in inferred.graph.initializer}
    for value in inferred.graph.output:
        if value.name in constants:
            fix_shape(value, tuple(constants[value.name].dims))
    return inferred


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the shapes that follow from its nodes.

    Weights are left out meanwhile, since every inference copies the model several times.
    """
    light = onnx.ModelProto()
    light.CopyFrom(model)
    graph = light.graph
    inputs = {value.name for value in graph.input}
    del graph.initializer[:]
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _LARGEST_SHAPE:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            kind = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(kind)
    inferred = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True)
    while complete(inferred):
        inferred = onnx.shape_inference.infer_shapes(inferred, strict_mode=True, data_prop=True)
    del inferred.graph.input[len(inputs) :], inferred.graph.initializer[:]
    inferred.graph.initializer.extend(model.graph.initializer)
    return inferred


def fold(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Compute what depends on constants and shapes only.

    Raises:
        UnsupportedModelError: the model holds what the optimiser cannot read.
    """
    from onnxscript import optimizer

    # The optimiser would inline them.
    del model.functions[:]
    try:
        with quiet():
            # Left alone by default, to keep files small.
            optimizer.fold_constants(
                model, should_fold=_folds_when_large, output_size_limit=_LARGEST_FOLDED
            )
            optimizer.fold_constants(model, should_fold=lambda node: _fills_a_tensor(node) or None)
            folded: onnx.ModelProto = optimizer.optimize(model)
    except Exception as error:
        # The optimiser's exceptions have no common class.
        raise UnsupportedModelError(
            f"{origin}: the ONNX model cannot be simplified ({error}); export it again"
        ) from error
    return folded


def _fills_a_tensor(node: ir.Node) -> bool:
    """Whether a node makes a tensor of one number, as paddings, shapes and dummy weights are."""
    return node.op_type == "ConstantOfShape"


def _folds_when_large(node: ir.Node) -> bool:
    return (
        _fills_a_tensor(node)
        or _arranges_recurrent_weights(node)
        or (not node.domain and node.op_type in _HEAVY)
    )


def _arranges_recurrent_weights(node: ir.Node) -> bool:
    """Whether a node orders the gates of a recurrent layer, as PyTorch's exporter does it."""
    if node.op_type not in _ARRANGING:
        return False
    uses = [use for output in node.outputs for use in output.uses()]
    return any(
        use.node.op_type in _RECURRENT or _arranges_recurrent_weights(use.node) for use in uses
    )


def _evaluate_several(model: onnx.ModelProto) -> bool:
    """Compute nodes with several results from constants, which the optimiser leaves; tell if any.

    TensorFlow's exporter takes shapes apart with Split.
    """
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [
        node
        for node in graph.node
        if len(node.output) > 1 and not node.domain and constants.keys() >= set(node.input)
    ]
    for node in nodes:
        feeds = {name: onnx.numpy_helper.to_array(constants[name]) for name in node.input}
        results = ReferenceEvaluator(node, opsets={"": opset_of(model)}).run(None, feeds)
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name)
            for name, value in zip(node.output, results, strict=True)
            if name
        )
        graph.node.remove(node)
    return bool(nodes)


def _spelled_out(model: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """Replace operators whose shape ONNX cannot infer by their definition, where they have one.

    What a definition consists of may need no more than folding.
    """
    plain, owners = spell_out(model, _is_open(model))
    while owners:
        model = fold(infer(plain, origin), origin)
        plain, owners = spell_out(model, _is_open(model))
    return model


def _is_open(model: onnx.ModelProto) -> Callable[[onnx.NodeProto], bool]:
    """Return whether a node of the model has a result of unknown shape."""
    known = _known(model)
    unknown = {name for node in model.graph.node for name in node.output if name} - known
    return lambda node: not unknown.isdisjoint(node.output)


def _known(model: onnx.ModelProto) -> set[str]:
    """Return the names of the values whose shape is known."""
    return {value.name for value in [*model.graph.value_info, *model.graph.output] if _fixed(value)}


def _refuse_shapes(model: onnx.ModelProto, origin: str) -> None:
    """Refuse open shapes, and shapes without elements where something is done with them."""
    used = {name for node in model.graph.node for name in node.input}
    used |= {value.name for value in model.graph.output}
    values = {v.name: v for v in [*model.graph.value_info, *model.graph.output]}
    for node in model.graph.node:
        for name in filter(None, node.output):
            where = f"{origin}: the shape of {name} ({node.op_type} {node.name})"
            if name not in values or not _fixed(values[name]):
                raise UnsupportedModelError(
                    f"{where} is not known before the network runs; edgeconv compiles fixed "
                    "shapes only"
                )
            shape = [d.dim_value for d in values[name].type.tensor_type.shape.dim]
            if name in used and min(shape, default=1) < 1:
                raise UnsupportedModelError(
                    f"{where} comes out as {shape}: it has no elements. Either an input is too "
                    "small (a window larger than what it slides over), or a part of the network "
                    "does nothing; give larger inputs, or take that part out"
                )


def _fixed(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)


def _strip(message: Any) -> None:
    """Clear metadata and doc strings everywhere: they hold paths of the exporting machine."""
    names = {field.name for field in message.DESCRIPTOR.fields}
    for name in names & {"metadata_props", "doc_string"}:
        message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if hasattr(value, "__len__") else [value]:
                _strip(item)


def _name(model: onnx.ModelProto) -> None:
    """Name nodes uniquely; where they carry PyTorch's module paths, rename values as well."""
    graph = model.graph
    interface = {value.name for value in [*graph.input, *graph.output]}
    taken = Counter(interface)
    paths = [_module_path(node) for node in graph.node]
    nodes_in = Counter(paths)
    renamed: dict[str, str] = {}
    for node, path in zip(graph.node, paths, strict=True):
        op = node.op_type.lower()
        if path is None:
            node.name = _unique(node.name or op, taken)
            continue
        node.name = _unique(path if nodes_in[path] == 1 else f"{path}.{op}", taken)
        for index, output in enumerate(node.output):
            renamed[output] = node.name if len(node.output) == 1 else f"{node.name}.{index}"
    if renamed and not any(item.HasField("g") for node in graph.node for item in node.attribute):
        renamed |= _constant_names(model, taken)
        _rename(graph, {old: new for old, new in renamed.items() if old not in interface})


def _module_path(node: onnx.NodeProto) -> str | None:
    """Return the path of the module that owns the node's weight, or else that it runs in."""
    metadata = {prop.key: prop.value for prop in node.metadata_props}
    if _SCOPES not in metadata:
        return None
    for name in node.input[1:]:
        if name.endswith(".weight"):
            return str(name).removesuffix(".weight")
    # The last scope is the operator's own name, the first the root module's, which is empty.
    scopes: list[str] = ast.literal_eval(metadata[_SCOPES])
    return next(filter(None, reversed(scopes[:-1])), node.op_type.lower())


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    if taken[name] == 1:
        return name
    return _unique(f"{name}_{taken[name]}", taken)


def _constant_names(model: onnx.ModelProto, taken: Counter[str]) -> dict[str, str]:
    """Name constants that are no parameter after the operator's input that they feed."""
    graph = model.graph
    users: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            users.setdefault(name, []).append((node, index))
    names = {}
    for tensor in graph.initializer:
        if tensor.name.endswith((".weight", ".bias")) or tensor.name not in users:
            continue
        node, index = users[tensor.name][0]
        names[tensor.name] = _unique(f"{node.name}.{_formal_input(node, index)}", taken)
    return names


def _formal_input(node: onnx.NodeProto, index: int) -> str:
    """Return what the operator's definition calls input `index`."""
    if not onnx.defs.has(node.op_type, node.domain):
        return f"input_{index}"
    formal = onnx.defs.get_schema(node.op_type, domain=node.domain).inputs
    return str(formal[min(index, len(formal) - 1)].name)


def _order_constants(graph: onnx.GraphProto) -> None:
    """Sort the constants by first use; passes leave them in the order of their rewrites."""
    used = {name: None for node in graph.node for name in node.input}
    position = {name: index for index, name in enumerate(used)}
    tensors = sorted(graph.initializer, key=lambda t: position.get(t.name, len(position)))
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for item in [*graph.initializer, *graph.value_info]:
        item.name = names.get(item.name, item.name)
