"""How far rounding moves a network's values, measured by running it with every layer disturbed.

Some layers amplify the rounding of what they get: a softmax multiplies it by the size of its
logits, deformable sampling by the slope of the image, a sum by how much of it cancels. How much
depends on the data. So the network runs as it is, and several times with every
layer's result v disturbed as rounding may disturb it:

    v + FACTOR * r * u * max(|v|, root of the sum of the squared terms of v),   u uniform in (-1, 1)

where r is the layer's rounding, eps * sqrt(accumulation length). The largest change of a value,
divided by FACTOR, is how far rounding may move it. The root of the sum of squares stands for the
partial sums of products that cancel; where those are rounded more coarsely than the rest, it is
added once more, as much of it as that takes. What is decided rather than computed (indices,
comparisons, rounding to integers) stays as in the undisturbed run. This is Monte Carlo arithmetic:
Parker, "Monte Carlo Arithmetic", UCLA CSD-970002; Higham, "Accuracy and Stability of Numerical
Algorithms", section 26.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgeconv.exporter.graph import ValueType, attribute, first_output, value_types
from edgeconv.exporter.reference import open_reference, reference_values

Array = npt.NDArray[Any]

# Element types whose disturbance is measured: the squared terms of halves may overflow.
MEASURED = (np.float32, np.float64)
# Large enough that a value holds the disturbance with a few bits, small enough to be linear.
FACTOR = 32.0
DRAWS = 4

# Sums of products: the same operator on squared operands gives the sum of the squared terms.
_PRODUCTS = {
    "Conv": (0, 1, 2),
    "ConvTranspose": (0, 1, 2),
    "DeformConv": (0, 1, 3, 4),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "ReduceSum": (0,),
}
_MEANS = frozenset(["AveragePool", "GlobalAveragePool", "ReduceMean"])
_NORMALISATIONS = frozenset(["GroupNormalization", "InstanceNormalization", "LayerNormalization"])
_STEPS = frozenset(["Ceil", "Floor", "Round", "Sign"])


@dataclass(frozen=True)
class Rounding:
    """How far a node's results are rounded.

    Attributes:
        relative: to the result, or the root of the sum of its squared terms where that is larger.
        partial: what the rounding of partial sums adds, relative to that root; for a node that sums
            products.
    """

    relative: float
    partial: float = 0.0


def disturbances(
    model: onnx.ModelProto,
    roundings: Mapping[str, Rounding],
    inputs: Mapping[str, Array],
    names: Sequence[str],
    factor: float = FACTOR,
) -> dict[str, tuple[float, float]]:
    """Return, by name, the largest change of a value and its largest magnitude.

    Args:
        model: every shape known.
        roundings: by the name of a node's first output.
        inputs: arrays by name.
        names: values to measure, in `MEASURED` types; only finite elements count.
        factor: how many times larger than the rounding the disturbance is.
    """
    types = value_types(model)
    decided = _decided(model, types)
    clean = reference_values(model, inputs, list(dict.fromkeys([*names, *decided])))
    changes = dict.fromkeys(names, 0.0)
    moving = [name for name in names if name not in decided]
    if moving:
        disturbed, bounds = _disturbed(model, roundings, types, decided, factor)
        noisy_run = open_reference(disturbed, moving)
        feeds = {**inputs, **{name: clean[name] for name in decided}}

        def change(draw: int) -> dict[str, float]:
            rng = np.random.default_rng(draw)
            noise = {name: _uniform(rng, *bound) for name, bound in bounds.items()}
            return {
                name: _largest(noisy.astype(np.float64) - clean[name]) / factor
                for name, noisy in noisy_run({**feeds, **noise}).items()
            }

        # A run takes one core, and leaves the interpreter to others.
        with ThreadPoolExecutor(min(DRAWS, len(os.sched_getaffinity(0)))) as pool:
            for changed in pool.map(change, range(DRAWS)):
                changes |= {name: max(changes[name], far) for name, far in changed.items()}
    return {name: (changes[name], _largest(clean[name])) for name in names}


def _decided(model: onnx.ModelProto, types: Mapping[str, ValueType]) -> list[str]:
    """Return the values that follow from a decision, not from arithmetic."""
    return [
        name
        for node in model.graph.node
        for name in filter(None, node.output)
        if node.op_type in _STEPS or not np.issubdtype(types[name].dtype, np.floating)
    ]


def _disturbed(
    model: onnx.ModelProto,
    roundings: Mapping[str, Rounding],
    types: Mapping[str, ValueType],
    decided: Sequence[str],
    factor: float,
) -> tuple[onnx.ModelProto, dict[str, tuple[ValueType, float]]]:
    """Return the model with disturbed layers, and type and bound of its noise by input name.

    What was decided becomes an input, and so does the noise: ONNX Runtime has no random operators
    of opset 22 and above.
    """
    bounds: dict[str, tuple[ValueType, float]] = {}
    disturbed = onnx.ModelProto()
    disturbed.CopyFrom(model)
    graph = disturbed.graph
    del graph.node[:]
    fixed = set(decided)
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.output[:] = [f"{name}/dropped" if name in fixed else name for name in node.output]
        rounding = roundings[first_output(original)]
        names = [name for name in original.output if name and name not in fixed]
        names = [name for name in names if types[name].dtype in MEASURED]
        if not rounding.relative or not names:
            graph.node.append(node)
            continue
        bound = factor * rounding.relative
        bounds.update({_draw(name): (types[name], bound) for name in names})
        graph.node.extend(_noisy(node, names, rounding, types))
    known = {value.name: value for value in [*model.graph.value_info, *model.graph.output]}
    graph.input.extend(known[name] for name in decided)
    graph.input.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind.dtype), kind.shape)
        for name, (kind, _) in bounds.items()
    )
    kept = [value for value in graph.output if value.name not in fixed]
    del graph.output[:]
    graph.output.extend(kept)
    return disturbed, bounds


def _uniform(rng: np.random.Generator, kind: ValueType, bound: float) -> Array:
    dtype: Any = kind.dtype
    # A scalar's noise must be an array too.
    return np.asarray((rng.random(kind.shape, dtype) * 2 - 1) * dtype.type(bound), dtype)


def _draw(result: str) -> str:
    """Return the input that holds the noise of a disturbed value."""
    return f"{result}/draw"


def _noisy(
    node: onnx.NodeProto,
    names: Sequence[str],
    rounding: Rounding,
    types: Mapping[str, ValueType],
) -> list[onnx.NodeProto]:
    """Return nodes that compute the node's results, those with `names` disturbed."""
    node.output[:] = [f"{name}/exact" if name in names else name for name in node.output]
    first, *others = names
    terms = _terms(node, first, rounding.relative, types)
    scale = [terms[-1].output[0]] if terms else []
    noise = _disturb(f"{first}/exact", first, scale, rounding.partial / rounding.relative)
    noise += [part for name in others for part in _disturb(f"{name}/exact", name, [])]
    return [node, *terms, *noise]


def _disturb(
    value: str, result: str, scale: Sequence[str], more: float = 0.0
) -> list[onnx.NodeProto]:
    """Add the drawn noise in proportion to the value or the larger `scale`, and `more` of that."""
    size, noise = f"{result}/size", f"{result}/noise"
    nodes = [
        helper.make_node("Abs", [value], [f"{result}/magnitude"]),
        helper.make_node("Max", [f"{result}/magnitude", *scale], [size]),
    ]
    if more:
        factor = numpy_helper.from_array(np.asarray(more, np.float32))
        nodes += [
            helper.make_node("Constant", [], [f"{result}/more"], value=factor),
            helper.make_node("Mul", [scale[0], f"{result}/more"], [f"{result}/partial"]),
            helper.make_node("Add", [size, f"{result}/partial"], [f"{result}/whole"]),
        ]
        size = f"{result}/whole"
    return [
        *nodes,
        helper.make_node("Mul", [_draw(result), size], [noise]),
        helper.make_node("Add", [value, noise], [result]),
    ]


def _terms(
    node: onnx.NodeProto, name: str, rounding: float, types: Mapping[str, ValueType]
) -> list[onnx.NodeProto]:
    """Return nodes for the root of the sum of the squared terms; none where nothing is summed."""
    dtype = types[name].dtype
    if node.op_type == "Gelu":
        return _gelu_terms(node, name, dtype)
    if node.op_type in _NORMALISATIONS:
        return _normalisation_terms(node, name, types)
    operands = (0,) if node.op_type in _MEANS else _PRODUCTS.get(node.op_type, ())
    if not operands:
        return []
    squared = onnx.NodeProto()
    squared.CopyFrom(node)
    squared.name = f"{name}/squares"
    squared.output[:] = [squared.name]
    nodes = []
    for operand in operands:
        if operand < len(node.input) and node.input[operand]:
            value, square = node.input[operand], f"{name}/square_{operand}"
            nodes.append(helper.make_node("Mul", [value, value], [square]))
            squared.input[operand] = square
    nodes += [squared, helper.make_node("Sqrt", [f"{name}/squares"], [f"{name}/root"])]
    # The terms of a mean are divided by their number, and so are the squares once more.
    shrink = float(np.finfo(dtype).eps) / rounding if node.op_type in _MEANS else 1.0
    factor = numpy_helper.from_array(np.asarray(shrink, dtype))
    return [
        *nodes,
        helper.make_node("Constant", [], [f"{name}/shrink"], value=factor),
        helper.make_node("Mul", [f"{name}/root", f"{name}/shrink"], [f"{name}/terms"]),
    ]


def _gelu_terms(node: onnx.NodeProto, name: str, dtype: np.dtype[Any]) -> list[onnx.NodeProto]:
    """Return the same for x / 2 + x / 2 * erf(x / sqrt(2)): they cancel where x is negative."""
    half = numpy_helper.from_array(np.asarray(0.5, dtype))
    return [
        helper.make_node("Abs", [node.input[0]], [f"{name}/whole"]),
        helper.make_node("Constant", [], [f"{name}/half"], value=half),
        helper.make_node("Mul", [f"{name}/whole", f"{name}/half"], [f"{name}/terms"]),
    ]


def _normalisation_terms(
    node: onnx.NodeProto, name: str, types: Mapping[str, ValueType]
) -> list[onnx.NodeProto]:
    """Return the same for (x - mean) / deviation * scale: the mean is rounded, and may cancel."""
    shape, scale = types[node.input[0]].shape, types[node.input[1]].shape
    dtype = types[name].dtype
    # What is normalised together; then the shapes in which the scale is broadcast.
    rows: tuple[int, ...]
    if node.op_type == "LayerNormalization":
        axis = attribute(node, "axis", -1) % len(shape)
        rows, scaled = (math.prod(shape[:axis]), -1), shape
    else:
        rows = (shape[0], attribute(node, "num_groups", shape[1]), -1)
        scaled, scale = (shape[0], *scale, -1), (*scale, 1)
    constants = {
        "to_rows": np.array(rows),
        "to_scaled": np.array(scaled),
        "to_scale": np.array(scale),
        "to_all": np.array(shape),
        "axis": np.array([len(rows) - 1]),
        "epsilon": np.array(attribute(node, "epsilon", 1e-5), dtype),
    }
    steps = (
        ("rows", "Reshape", node.input[0], f"{name}/to_rows"),
        ("mean", "ReduceMean", f"{name}/rows", f"{name}/axis"),
        ("centred", "Sub", f"{name}/rows", f"{name}/mean"),
        ("squares", "Mul", f"{name}/centred", f"{name}/centred"),
        ("variance", "ReduceMean", f"{name}/squares", f"{name}/axis"),
        ("positive", "Add", f"{name}/variance", f"{name}/epsilon"),
        ("deviation", "Sqrt", f"{name}/positive"),
        ("normal", "Div", f"{name}/rows", f"{name}/deviation"),
        ("broadcast", "Reshape", f"{name}/normal", f"{name}/to_scaled"),
        ("scale", "Reshape", node.input[1], f"{name}/to_scale"),
        ("product", "Mul", f"{name}/broadcast", f"{name}/scale"),
        ("signed", "Reshape", f"{name}/product", f"{name}/to_all"),
        ("terms", "Abs", f"{name}/signed"),
    )
    return [
        *(
            helper.make_node("Constant", [], [f"{name}/{part}"], value=numpy_helper.from_array(c))
            for part, c in constants.items()
        ),
        *(helper.make_node(op, operands, [f"{name}/{part}"]) for part, op, *operands in steps),
    ]


def _largest(array: Array) -> float:
    magnitudes = np.abs(array[np.isfinite(array)])
    return float(magnitudes.max(initial=0.0))
