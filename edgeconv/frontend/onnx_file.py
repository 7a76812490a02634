"""`.onnx` files: parsed, checked, external data read, input shapes fixed."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_tensor

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.inputs import InputSpec, Request, supported_dtype
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.onnx_check import check_sizes, check_structure, messages
from edgeconv.frontend.source import Source

OPSETS = range(6, 29)
# From here on, constants need not be inputs as well.
_CONSTANTS_ONLY_IR = 4


def recognises(file: ModelFile) -> bool:
    """Tell by the name: the format has no magic number."""
    return file.path.suffix.lower() == ".onnx"


def load(file: ModelFile, request: Request) -> Source:
    """Load the graph and fix the shapes of its inputs.

    Raises:
        UnsupportedModelError: the file is damaged, no valid model or of another opset, or
            external data is missing or lies outside the file's folder.
        UsageError: an input's shape is open, or a shape or example does not fit.
    """
    model = _parse(file)
    _refuse_opset(model, file)
    check_structure(model, str(file.path))
    for tensor in messages(model, onnx.TensorProto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _load_external(tensor, file.path)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        # The latter where the checker's message quotes a damaged name.
        raise UnsupportedModelError(f"{file.path}: not a valid ONNX model: {error}") from error
    _drop_initialised_inputs(model)
    _number_repeated_names(model)
    specs = [_spec(value, file) for value in model.graph.input]
    if not specs:
        raise UnsupportedModelError(f"{file.path}: takes no inputs, so there is nothing to run")
    inputs = request.resolve(specs, file.name)
    for value in model.graph.input:
        fix_shape(value, inputs[value.name].shape)
    check_sizes(model, str(file.path))
    return Source(
        name=file.path.stem, origin=file.name, module=None, onnx=model, example_inputs=inputs
    )


def _parse(file: ModelFile) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no stubs

    try:
        model = onnx.load_model_from_string(file.path.read_bytes())
    except DecodeError as error:
        raise UnsupportedModelError(
            f"{file.path}: not an ONNX file, or cut off ({error}); copy or export it again"
        ) from error
    if not model.graph.node:
        raise UnsupportedModelError(f"{file.path}: holds no graph; export it again")
    return model


def _refuse_opset(model: onnx.ModelProto, file: ModelFile) -> None:
    for opset in model.opset_import:
        if opset.domain in {"", "ai.onnx"} and opset.version not in OPSETS:
            raise UnsupportedModelError(
                f"{file.path}: opset {opset.version}; edgeconv reads opset {OPSETS[0]} to "
                f"{OPSETS[-1]}: export it again, or convert it with onnx.version_converter"
            )


def _load_external(tensor: onnx.TensorProto, model: Path) -> None:
    folder = model.parent.resolve()
    location = next((item.value for item in tensor.external_data if item.key == "location"), "")
    try:
        data = (folder / location).resolve()
        if not data.is_relative_to(folder):
            raise UnsupportedModelError(
                f"{model}: the data of {tensor.name} lies outside the model's folder ({location}); "
                "move it beside the model and export it again"
            )
        if not data.is_file():
            raise UnsupportedModelError(
                f"{model}: the data of {tensor.name} is missing: copy {location} beside the model"
            )
        load_external_data_for_tensor(tensor, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UnsupportedModelError(
            f"{model}: the data of {tensor.name} in {location[:80]!r} cannot be read: {error}"
        ) from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _drop_initialised_inputs(model: onnx.ModelProto) -> None:
    """Remove inputs that have an initializer: old exporters list the weights as inputs."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)
    model.ir_version = max(model.ir_version, _CONSTANTS_ONLY_IR)


def _number_repeated_names(model: onnx.ModelProto) -> None:
    """Make the names of nodes different: ONNX Runtime insists, though nothing refers to them."""
    for graph in messages(model, onnx.GraphProto):
        taken = Counter(node.name for node in graph.node)
        repeated = {name for name, count in taken.items() if name and count > 1}
        for node in graph.node:
            if node.name in repeated:
                stem = node.name
                numbered = (f"{stem}_{number}" for number in itertools.count(1))
                node.name = next(name for name in numbered if name not in taken)
                taken[node.name] += 1


def _spec(value: onnx.ValueInfoProto, file: ModelFile) -> InputSpec:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type == onnx.TensorProto.STRING:
        raise UnsupportedModelError(f"{file.path}: input {value.name} is no numeric tensor")
    try:
        declared = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    except KeyError as error:
        raise UnsupportedModelError(
            f"{file.path}: input {value.name} has the element type {kind.elem_type}, which ONNX "
            "does not define; copy or export the file again"
        ) from error
    dtype = supported_dtype(declared, value.name, str(file.path))
    if not kind.HasField("shape"):
        return InputSpec(value.name, dtype, None)
    # Some exporters write -1 for an open size.
    sizes = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
        for d in kind.shape.dim
    )
    return InputSpec(value.name, dtype, sizes)


def fix_shape(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    """Replace the shape of an input by a fixed one."""
    sizes = value.type.tensor_type.shape
    del sizes.dim[:]
    for size in shape:
        sizes.dim.add().dim_value = size
    # A scalar's shape has no dimension, but must be there.
    value.type.tensor_type.shape.SetInParent()
