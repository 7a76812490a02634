"""How far a value may be from its reference: an estimate of rounding errors.

Rounding each partial sum of n terms by up to eps/2 gives an error that grows like sqrt(n) eps
when the roundings are independent, relative to the largest sum. Errors of one layer pass through
the next ones with about unit gain, since trained and normalised layers keep the scale of what
they get; so a value's error is the sum over the layers that it depends on:

    estimate(value) = sum over ancestors of eps(dtype of layer) * sqrt(accumulation length)

Adding, where independent errors would add in squares, leaves room for another order of summation on
the other side. Arithmetic on single elements counts as length 1; moving, selecting and clipping do
not round and count 0. Functions that libraries approximate (exp, tanh) come out within one or two
units in the last place on either side, not half of one, and count as length 4. Places between
pixels, which interpolation computes, are rounded in proportion to the side of the image, and the
image changes by up to twice its largest value from one pixel to the next. Integers and booleans are
exact, unless a rounded value was turned into them, and then no bound of this kind exists: they must
be equal all the same.

Where the gain is more than one, the estimate is too small. How much more depends on the data, so
it is measured on the golden inputs (see `conditioning`), and the larger of the two is taken:

    tolerance(value) = max(estimate, min(measured change / largest magnitude, LARGEST))

What clips moves no element further than its operands were moved, but may cut off the largest of
them, which their errors are measured by. So a clipped value may be as far from its reference as its
operands may, in absolute terms, if that is no more than LARGEST.

Results so small that they are denormal are rounded to multiples of the smallest number instead.

A network whose tensors are stored in half precision rounds every result once more, to that
precision, and its weights as well; then the estimate would be far too large for a deep network,
since it adds what is independent, and the measured change alone counts:

    tolerance(value) = tolerance in single precision + min(MARGIN * measured change / largest
                       magnitude, LARGEST_HALF)

Where products are summed in half precision as well, n at a time, every product and every partial
sum of such a run is rounded by up to eps/2, and so may be the two factors of a product. The first k
terms of a run sum to at most sqrt(k) times the root of the sum of their squares (Cauchy and
Schwarz), so that the squares of all roundings of a run add up to no more than
(eps/2)^2 (n (n + 1) / 2 + 3) times the sum of its squared terms, and all runs together disturb the
result by

    eps/2 * sqrt(n (n + 1) / 2 + 3) * root of the sum of the squared terms

Winograd's algorithm stores and sums transformed tiles so, and transforms the sums back, and their
errors with them. The squared terms of its sums, as far as they enter a result, are the square of an
amplification, which follows from the weights, times those of the layer (see
`compiler.compute.toom_cook.amplification`); so all roundings to half precision count that often.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner

from edgeconv.exporter.conditioning import MEASURED, Rounding, disturbances
from edgeconv.exporter.graph import ValueType, attribute, first_output, value_types
from edgeconv.ops import op_of
from edgeconv.plan import HalfRun
from edgeconv.precision import Precision

Array = npt.NDArray[Any]

# Where rounding alone moves an output by more than this, no comparison means much.
LARGEST = 1e-2
# The same in half precision.
LARGEST_HALF = 1e-1
# Another order of rounding, beyond those that were drawn.
MARGIN = 2.0

# Operators that move, select or clip, and so never round.
EXACT = frozenset(
    [
        "Abs",
        "ArgMax",
        "ArgMin",
        "BitCast",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "DepthToSpace",
        "Dropout",
        "Equal",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "GlobalMaxPool",
        "Greater",
        "Identity",
        "Less",
        "Max",
        "MaxPool",
        "Min",
        "Neg",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Reshape",
        "Round",
        "Shape",
        "Sign",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)

# Operators that return one of their operands, element by element.
_CLIPPING = frozenset(["Clip", "Max", "Min", "Relu"])

# What storing a result and a weight in half precision adds to a node's rounding.
_HALF = float(np.finfo(np.float16).eps)

# Operators that sum products, and which operands those are of.
_PRODUCTS = {
    "Conv": (0, 1),
    "ConvTranspose": (0, 1),
    "DeformConv": (0, 1, 4),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
}

# Operators that evaluate a function which libraries approximate, and their length.
APPROXIMATED = frozenset(
    [
        *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Erf"),
        *("Exp", "Log", "Mish", "Pow", "Selu", "Sigmoid", "Sin", "Sinh", "Softplus", "Swish"),
        *("Tan", "Tanh"),
    ]
)
APPROXIMATION = 4


def tolerance(
    model: onnx.ModelProto,
    cases: Sequence[Mapping[str, Array]] = (),
    precision: Precision = Precision.FP32,
    half_runs: Mapping[str, HalfRun] = MappingProxyType({}),
) -> dict[str, float]:
    """Return, by output name, the largest permitted |got - want| / max |want|.

    Args:
        model: every shape must be known.
        cases: inputs to measure gains with, arrays by name; half precision needs some.
        precision: in which tensors are stored.
        half_runs: what is summed in half precision, by node (`Plan.half_runs`).
    """
    names = [value.name for value in model.graph.output]
    values = value_tolerances(model, cases, names, precision, half_runs)
    # An output can also be an input, passed through.
    return {name: values.get(name, 0.0) for name in names}


def value_tolerances(
    model: onnx.ModelProto,
    cases: Sequence[Mapping[str, Array]] = (),
    names: Sequence[str] | None = None,
    precision: Precision = Precision.FP32,
    half_runs: Mapping[str, HalfRun] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the same for values that a node computes.

    `names` are the values to return where they are computed, None for all.
    """
    types = value_types(model)
    estimates = _estimates(model, types)
    wanted = [name for name in (estimates if names is None else names) if name in estimates]
    result = {name: estimates[name] for name in wanted}
    clipped = _clipped(model, estimates)
    needed = [name for name in _with_operands(wanted, clipped) if types[name].dtype in MEASURED]
    measured = [name for name in wanted if types[name].dtype in MEASURED]
    plain = _without_functions(model)
    inner = types | value_types(plain)
    roundings = {first_output(node): Rounding(_rounding(node, inner)) for node in plain.graph.node}
    for inputs in cases:
        found = disturbances(plain, roundings, inputs, needed)
        distances = {
            name: _distance(*found[name], estimates[name], types[name].dtype) for name in needed
        }
        _carry(
            distances, clipped, {name: LARGEST * largest for name, (_, largest) in found.items()}
        )
        for name in measured:
            if found[name][1]:
                result[name] = max(result[name], distances[name] / found[name][1])
    if precision is Precision.FP32:
        return result
    coarse = _stored_in_half(plain, roundings, inner, half_runs)
    extra = dict.fromkeys(result, 0.0)
    for inputs in cases:
        changes = disturbances(plain, coarse, inputs, measured, factor=1.0)
        for name, (change, largest) in changes.items():
            if largest:
                limit = min(MARGIN * change / largest, LARGEST_HALF)
                extra[name] = max(extra[name], float(limit))
    return {name: limit + extra[name] for name, limit in result.items()}


def _clipped(model: onnx.ModelProto, computed: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the `computed` operands of what clips, by its name, in the order of the network."""
    return {
        first_output(node): [name for name in node.input if name in computed]
        for node in model.graph.node
        if node.op_type in _CLIPPING
    }


def _with_operands(names: Sequence[str], clipped: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names, and those whose distances they need."""
    found = dict.fromkeys(names)
    for name, operands in reversed(list(clipped.items())):
        if name in found:
            found |= dict.fromkeys(operands)
    return list(found)


def _distance(change: float, largest: float, estimate: float, dtype: np.dtype[Any]) -> float:
    """Return how far a value may be from its reference, by what was estimated and measured."""
    limits: Any = np.finfo(dtype)
    tiny = estimate / limits.eps * limits.smallest_subnormal
    return float(max(estimate * largest, min(change, LARGEST * largest) + tiny))


def _carry(
    distances: dict[str, float], clipped: Mapping[str, Sequence[str]], most: Mapping[str, float]
) -> None:
    """Let what clips be as far from its reference as its operands, but no further than `most`."""
    for name, operands in clipped.items():
        if name in distances:
            carried = max((distances[o] for o in operands if o in distances), default=0.0)
            distances[name] = max(distances[name], min(carried, most[name]))


def products(model: onnx.ModelProto, kept: Set[str] = frozenset()) -> frozenset[str]:
    """Return the nodes whose products a GPU may sum in half precision, by name.

    Values that are `kept` are no part of them.
    """
    found = set()
    for node in model.graph.node:
        places = _PRODUCTS.get(node.op_type, ())
        operands = [node.input[place] for place in places if place < len(node.input)]
        if places and kept.isdisjoint([*operands, *node.output]):
            found.add(node.name)
    return frozenset(found)


def _stored_in_half(
    model: onnx.ModelProto,
    roundings: Mapping[str, Rounding],
    types: Mapping[str, ValueType],
    half_runs: Mapping[str, HalfRun],
) -> dict[str, Rounding]:
    """Return what `roundings` in single precision become, by the name of a node's first output."""
    given = {value.name for value in model.graph.input}
    result = {}
    for node in model.graph.node:
        name = first_output(node)
        result[name] = _in_half(node, roundings[name], half_runs)
        # Inputs stay in single precision: an exact operator on one is what rounds it.
        if np.issubdtype(types[name].dtype, np.floating) and not given.isdisjoint(node.input):
            result[name] = replace(result[name], relative=roundings[name].relative + _HALF)
    return result


def _in_half(node: onnx.NodeProto, single: Rounding, half_runs: Mapping[str, HalfRun]) -> Rounding:
    """Return the rounding of a node that rounds so in single precision."""
    if not single.relative:
        return single
    run = half_runs.get(node.name) if node.op_type in _PRODUCTS else None
    if run is None:
        return Rounding(single.relative + _HALF)
    partial = _HALF / 2 * math.sqrt(run.products * (run.products + 1) / 2 + 3)
    return Rounding(single.relative + _HALF * run.amplification, partial * run.amplification)


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with every function inlined: what happens inside is disturbed as well."""
    if not model.functions:
        return model
    plain = inliner.inline_local_functions(model)
    return onnx.shape_inference.infer_shapes(plain, strict_mode=True, data_prop=True)


def _estimates(model: onnx.ModelProto, types: Mapping[str, ValueType]) -> dict[str, float]:
    """Return the sum of roundings that every value depends on."""
    # Bit i of a value's mask: it depends on node i. So a layer counts once on every path.
    ancestors: dict[str, int] = {}
    result: dict[str, float] = {}
    amounts = [_rounding(node, types) for node in model.graph.node]
    for index, node in enumerate(model.graph.node):
        mask = 1 << index
        for name in node.input:
            mask |= ancestors.get(name, 0)
        total = math.fsum(r for i, r in enumerate(amounts) if mask >> i & 1)
        for name in filter(None, node.output):
            ancestors[name] = mask
            rounds = np.issubdtype(types[name].dtype, np.floating)
            result[name] = total if rounds else 0.0
    return result


def accumulation_length(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    """Return how many terms one element of the node's first output sums; 0 if nothing rounds."""
    op = op_of(node)
    if op is not None:
        return op.accumulation_length(node, types)
    if node.op_type in EXACT:
        return int(_narrows(node, types))
    if node.op_type in APPROXIMATED:
        return APPROXIMATION
    measure = _LENGTHS.get(node.op_type)
    return 1 if measure is None else max(1, measure(node, types))


def _narrows(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> bool:
    """Whether a cast rounds: numbers that nearly agree may become neighbours of fewer digits."""
    if node.op_type not in {"Cast", "CastLike"}:
        return False
    given, made = (types[name].dtype for name in (node.input[0], first_output(node)))
    floats = all(np.issubdtype(dtype, np.floating) for dtype in (given, made))
    return floats and made.itemsize < given.itemsize


def _rounding(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> float:
    dtype = types[first_output(node)].dtype
    if not np.issubdtype(dtype, np.floating):
        return 0.0
    length = math.sqrt(accumulation_length(node, types) + _bias(node)) + _places(node, types)
    return float(np.finfo(dtype).eps) * length


def _bias(node: onnx.NodeProto) -> int:
    """Return the terms of a bias, which may be a folded normalisation's.

    That is its subtraction, scaling and addition, and the rounding of the weights it went into.
    """
    biased = node.op_type in {"Conv", "ConvTranspose", "Gemm"} and len(node.input) > 2
    return 4 if biased and node.input[2] else 0


def _places(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    """Return the roundings of places where the node interpolates; 0 where it does not."""
    interpolates = node.op_type in {"DeformConv", "GridSample"} or (
        node.op_type == "Resize" and attribute(node, "mode", b"nearest") != b"nearest"
    )
    return 2 * max(types[node.input[0]].shape[2:], default=0) if interpolates else 0


def _conv(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return math.prod(types[node.input[1]].shape[1:])


def _conv_transpose(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    # Counts every tap, though only one in stride^2 meets a given output.
    channels, _, *kernel = types[node.input[1]].shape
    return channels // int(attribute(node, "group", 1)) * math.prod(kernel)


def _gemm(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    rows, columns = types[node.input[0]].shape
    return rows if attribute(node, "transA", 0) else columns


def _matmul(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return types[node.input[0]].shape[-1]


def _reduction(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return types[node.input[0]].elements // max(1, types[node.output[0]].elements)


def _window(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return math.prod(attribute(node, "kernel_shape", [1]))


def _axis(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return types[node.input[0]].shape[int(attribute(node, "axis", -1))]


def _axes_from(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return math.prod(types[node.input[0]].shape[attribute(node, "axis", -1) :])


def _spatial(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return math.prod(types[node.input[0]].shape[2:])


def _group(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    return math.prod(types[node.input[0]].shape[1:]) // int(attribute(node, "num_groups", 1))


def _recurrent(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    # The last step stands on all of them; their roundings are independent, so squares add.
    steps = types[node.input[0]].shape[int(attribute(node, "layout", 0))]
    return steps * sum(types[weight].shape[-1] for weight in node.input[1:3])


def _gelu(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int:
    # x / sqrt(2), 1 more than its erf, times x: each is rounded.
    return 3 + APPROXIMATION


_LENGTHS: dict[str, Callable[[onnx.NodeProto, Mapping[str, ValueType]], int]] = {
    "AveragePool": _window,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GRU": _recurrent,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _reduction,
    "GroupNormalization": _group,
    "InstanceNormalization": _spatial,
    "LSTM": _recurrent,
    "LayerNormalization": _axes_from,
    "LogSoftmax": _axis,
    "MatMul": _matmul,
    "RNN": _recurrent,
    "ReduceL1": _reduction,
    "ReduceL2": _reduction,
    "ReduceLogSumExp": _reduction,
    "ReduceMean": _reduction,
    "ReduceProd": _reduction,
    "ReduceSum": _reduction,
    "ReduceSumSquare": _reduction,
    "Softmax": _axis,
}
