"""The ONNX project's backend interface: models in memory, compiled for this machine and run here.

    import edgeconv.backend as backend
    outputs = backend.run_model(model, inputs)

`onnx.backend.base` defines the interface. A model goes the way of an `.onnx` file, except that its
outputs are not compared with a reference. Shapes are compiled in, and so are the values that decide
them (the shape of a Reshape, the axes of a reduction): inputs with such a meaning are constants of
the compiled program, which is made when the first inputs are known, and again for other values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

from edgeconv.compiler.importer import setting_inputs
from edgeconv.compiler.link import Emit
from edgeconv.compiler.pipeline import compile_exported
from edgeconv.errors import UsageError
from edgeconv.exporter import Exported
from edgeconv.exporter.functions import inlined
from edgeconv.exporter.opset import raised
from edgeconv.exporter.tidy import tidy
from edgeconv.frontend import load_source
from edgeconv.runtime import Model
from edgeconv.target import load_target

Array = npt.NDArray[Any]


class PreparedModel(BackendRep):
    """A model that is compiled for the shapes and settings that it is run with."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Keep a copy of `model`; compiling waits for inputs."""
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        constants = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value.name for value in model.graph.input if value.name not in constants]
        self._outputs = [value.name for value in model.graph.output]
        self._programs: dict[Any, tuple[Model, list[str]]] = {}

    def run(self, inputs: Sequence[Any] | Any, **kwargs: Any) -> tuple[Array, ...]:
        """Run the model on arrays, in the order of its inputs, and return its outputs in order.

        Raises:
            UnsupportedModelError: the model is not valid, or holds what is not supported.
            UsageError: an input does not fit the model.
        """
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(given) != len(self._inputs):
            raise UsageError(
                f"{len(given)} inputs were given; the model takes {len(self._inputs)} "
                f"({', '.join(self._inputs)})"
            )
        arrays = dict(zip(self._inputs, given, strict=True))
        program, names = self._program(arrays)
        results = program.run({name: np.asarray(arrays[name]) for name in names})
        return tuple(results[name] for name in self._outputs)

    def _program(self, arrays: dict[str, Any]) -> tuple[Model, list[str]]:
        """Return the program for inputs like these, and the inputs that it still takes."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        # An empty input says nothing but its type.
        empty = {name for name, value in arrays.items() if _is_empty(value)}
        for name in empty:
            _fix_input(model, name, arrays[name])
        given = {name: value for name, value in arrays.items() if name not in empty}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(model.SerializeToString())
            source = load_source(path, example_inputs=given)
        assert source.onnx is not None
        source.onnx.CopyFrom(raised(inlined(source.onnx), source.origin))
        settings = setting_inputs(source.onnx)
        key = (
            tuple(arrays[name].dtype.str for name in sorted(empty)),
            tuple(
                array.tobytes() if name in settings else (array.shape, array.dtype.str)
                for name, array in source.example_inputs.items()
            ),
        )
        if key not in self._programs:
            for name in settings:
                _fix_input(source.onnx, name, source.example_inputs[name])
            names = [name for name in source.example_inputs if name not in settings]
            plain = tidy(
                source.onnx, {name: source.example_inputs[name] for name in names}, source.origin
            )
            self._programs[key] = _compile(plain), names
        return self._programs[key]


def _is_empty(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.size == 0


def _fix_input(model: onnx.ModelProto, name: str, value: Array) -> None:
    """Turn an input into a constant."""
    kept = [info for info in model.graph.input if info.name != name]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _compile(model: onnx.ModelProto) -> Model:
    exported = Exported("model", "model", model, golden=())
    artifact = compile_exported(exported, load_target("host"), emit=Emit.LIB)
    # Loaded and mapped files outlive their names.
    with TemporaryDirectory() as folder:
        return Model(artifact.unpack(folder))


class EdgeconvBackend(Backend):
    """Compiles for this machine's processor."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether `device` is "CPU", with or without a number."""
        return device.split(":", maxsplit=1)[0] == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> PreparedModel:
        """Return the model, ready to be compiled at its first run; raises UsageError elsewhere."""
        if not cls.supports_device(device):
            raise UsageError(f"device {device!r}: this backend runs on the CPU")
        return PreparedModel(model)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Sequence[Any],
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """Run one operator on arrays, one for each input that it has; see `PreparedModel.run`.

        `opset_version` among the keywords chooses the operator's version, by default the newest.
        """
        arrays = [np.asarray(array) for array in inputs]
        names = [name for name in node.input if name]
        values = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays, strict=True)
        ]
        results = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        opset = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        model = onnx.helper.make_model(
            onnx.helper.make_graph([node], node.op_type, values, results),
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
        # The checker wants types of outputs too.
        return cls.prepare(onnx.shape_inference.infer_shapes(model), device).run(arrays)


prepare = EdgeconvBackend.prepare
run_model = EdgeconvBackend.run_model
run_node = EdgeconvBackend.run_node
supports_device = EdgeconvBackend.supports_device
is_compatible = EdgeconvBackend.is_compatible
