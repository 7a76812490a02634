"""ONNX Runtime as an oracle: any value of a graph, computed without optimisations.

Where it lacks an operator for a type (much in double precision), the standard's own evaluator, slow
and in NumPy, takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.exporter.exported import model_bytes
from edgeconv.metrics import compare

Array = npt.NDArray[Any]

# It counts images where it should count channels; it ignores directions and activations.
_MISTAKEN = frozenset(["LRN", "GRU", "LSTM", "RNN"])


def reference_values(
    model: onnx.ModelProto,
    inputs: Mapping[str, Array],
    names: Sequence[str],
    origin: str = "the model",
) -> dict[str, Array]:
    """Run the model in ONNX Runtime and return the named values, outputs or intermediate.

    `origin`, such as a file's name, says in messages which model it is.

    Raises:
        UsageError: the graph computes no value of that name, or the inputs do not fit.
        UnsupportedModelError: ONNX Runtime cannot run the model.
    """
    return open_reference(model, names, origin)(inputs)


def open_reference(
    model: onnx.ModelProto, names: Sequence[str], origin: str = "the model"
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Return what runs the model once more for every call, as `reference_values` does once."""
    session = _session(_exposing(model, names), origin)

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            # ONNX Runtime takes an empty list for every output.
            results = session.run(list(names), dict(inputs)) if names else []
        except Exception as error:
            # ONNX Runtime's exceptions have no common class of their own.
            raise UsageError(f"{origin}: the reference fails on these inputs: {error}") from error
        return dict(zip(names, results, strict=True))

    return run


def relative_error(got: Array, want: Array) -> float:
    """Return max |got - want| / max |want|, which tolerances bound; infinity for another shape."""
    return compare(got, want).max_rel if got.shape == want.shape else math.inf


def _exposing(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return the model with the named values as outputs."""
    outputs = {value.name for value in model.graph.output}
    if outputs.issuperset(names):
        return model
    computed = {name for node in model.graph.node for name in node.output}
    unknown = sorted(set(names) - computed - outputs)
    if unknown:
        raise UsageError(f"the graph computes no value called {', '.join(unknown)}")
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {value.name: value for value in model.graph.value_info}
    exposed.graph.output.extend(
        known.get(name, onnx.ValueInfoProto(name=name)) for name in names if name not in outputs
    )
    return exposed


def _with_exact_sigmoids(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each float32 Sigmoid spelled out as 1 / (1 + exp(-x)).

    ONNX Runtime's own errs by 2^-24 where the result is near 0 as much as where it is near 1, and
    a detector that finds nothing has results near 0 only.
    """
    if not any(node.op_type == "Sigmoid" and not node.domain for node in model.graph.node):
        return model
    typed = onnx.shape_inference.infer_shapes(model)
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in [*typed.graph.input, *typed.graph.value_info, *typed.graph.output]
    }
    nodes = list(typed.graph.node)
    del typed.graph.node[:]
    one = onnx.helper.make_tensor("sigmoid/one", onnx.TensorProto.FLOAT, [], [1.0])
    typed.graph.node.append(onnx.helper.make_node("Constant", [], [one.name], value=one))
    for node in nodes:
        if node.op_type != "Sigmoid" or node.domain or kinds.get(node.output[0]) != one.data_type:
            typed.graph.node.append(node)
            continue
        (result,) = node.output
        parts = [f"{result}/{part}" for part in ("minus", "power", "sum")]
        typed.graph.node.extend(
            [
                onnx.helper.make_node("Neg", [node.input[0]], [parts[0]]),
                onnx.helper.make_node("Exp", [parts[0]], [parts[1]]),
                onnx.helper.make_node("Add", [parts[1], one.name], [parts[2]]),
                onnx.helper.make_node("Reciprocal", [parts[2]], [result]),
            ]
        )
    return typed


def _session(model: onnx.ModelProto, origin: str) -> Any:
    """Return what has a method `run(names, inputs)`."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Lacking

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    # The number of threads changes how sums are split, and so their last bits.
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            model_bytes(_with_exact_sigmoids(model)), options, providers=["CPUExecutionProvider"]
        )
    except Lacking as error:
        if wrong := _MISTAKEN.intersection(node.op_type for node in model.graph.node):
            raise UnsupportedModelError(
                f"{origin}: ONNX Runtime lacks an operator ({error}), and the standard's own "
                f"evaluator is wrong for {', '.join(wrong)}: there is nothing to compare with"
            ) from error
        return ReferenceEvaluator(model)
    except Exception as error:
        raise UnsupportedModelError(f"{origin}: ONNX Runtime cannot load it: {error}") from error
