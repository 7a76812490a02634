"""Graphs as exporters write them, from a file to a verified artifact on this machine."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.cli.app import app
from edgeconv.errors import UsageError

DRAW = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (DRAW.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def write(path: Path, opset: int, graph: str, constants: dict[str, np.ndarray]) -> Path:
    """Write a graph in ONNX's text format, `NAME (inputs) => (outputs) {nodes}`."""
    model = onnx.parser.parse_model(f'<ir_version: 7, opset_import: ["": {opset}]> {graph}')
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    path.write_bytes(model.SerializeToString())
    return path


def compiled(path: Path, **shapes: tuple[int, ...]) -> Artifact:
    """Compile for this machine; what it computes must be what ONNX Runtime computes."""
    artifact = edgeconv.compile(path, input_shapes=shapes)
    artifact.verify().raise_if_failed()
    return artifact


YOLO = """yolo (float[n, 3, h, w] images) => (float[n, k, 7] boxes) {
    features = Conv<strides = [8, 8], kernel_shape = [8, 8]>(images, stem)
    active = LeakyRelu<alpha = 0.1>(features)
    raw = Conv(active, head, bias)
    shape = Shape(raw)
    batch = Gather<axis = 0>(shape, zero)
    rows = Gather<axis = 0>(shape, two)
    columns = Gather<axis = 0>(shape, three)
    batch1 = Reshape(batch, one)
    rows1 = Reshape(rows, one)
    columns1 = Reshape(columns, one)
    split_shape = Concat<axis = 0>(batch1, anchors, seven, rows1, columns1)
    split = Reshape(raw, split_shape)
    last = Transpose<perm = [0, 1, 3, 4, 2]>(split)
    chances = Sigmoid(last)
    xy = Slice(chances, zero1, two1, four1)
    wh = Slice(chances, two1, four1, four1)
    rest = Slice(chances, four1, end1, four1)
    y_range = Range(zero, rows, step)
    x_range = Range(zero, columns, step)
    y_column = Reshape(y_range, column_shape)
    x_row = Reshape(x_range, row_shape)
    grid_shape = Concat<axis = 0>(rows1, columns1)
    y_grid = Expand(y_column, grid_shape)
    x_grid = Expand(x_row, grid_shape)
    y_last = Unsqueeze(y_grid, grid_axes)
    x_last = Unsqueeze(x_grid, grid_axes)
    grid_last = Concat<axis = 4>(x_last, y_last)
    grid = Cast<to = 1>(grid_last)
    doubled = Mul(xy, two_f)
    moved = Sub(doubled, half)
    placed = Add(moved, grid)
    centres = Mul(placed, stride)
    twice = Mul(wh, two_f)
    squared = Pow(twice, two_f)
    sizes = Mul(squared, anchor_sizes)
    all = Concat<axis = 4>(centres, sizes, rest)
    list_shape = Concat<axis = 0>(batch1, minus, seven)
    boxes = Reshape(all, list_shape)
}"""
YOLO_CONSTANTS = {
    "stem": weights(8, 3, 8, 8),
    "head": weights(21, 8, 1, 1),
    "bias": weights(21),
    **{name: np.int64(i) for i, name in enumerate(["zero", "step", "two", "three"])},
    "grid_axes": np.int64([0, 1, 4]),
    "column_shape": np.int64([-1, 1]),
    "row_shape": np.int64([1, -1]),
    **{
        name: np.int64([i]) for name, i in (("one", 1), ("anchors", 3), ("seven", 7), ("minus", -1))
    },
    **{name: np.int64([i]) for name, i in (("zero1", 0), ("two1", 2), ("four1", 4), ("end1", 99))},
    "two_f": np.float32(2),
    "half": np.float32(0.5),
    "stride": np.float32(8),
    "anchor_sizes": np.float32([[10, 13], [16, 30], [33, 23]]).reshape(1, 3, 1, 1, 2),
}


def yolo(folder: Path, opset: int) -> Path:
    """A detector's head: boxes from sigmoids, a grid made of shapes, anchors."""
    text, constants = YOLO, dict(YOLO_CONSTANTS)
    if opset < 13:
        text = text.replace("Unsqueeze(", "Unsqueeze<axes = [0, 1, 4]>(").replace(", grid_axes", "")
        del constants["grid_axes"]
    return write(folder / f"yolo{opset}.onnx", opset, text, constants)


@pytest.mark.parametrize("opset", [*range(11, 23)])
def test_every_opset_gives_a_detector_without_shapes_to_compute(tmp_path: Path, opset: int) -> None:
    exported = edgeconv.export(yolo(tmp_path, opset), input_shapes={"images": (2, 3, 32, 48)})
    ops = {node.op_type for node in exported.model.graph.node}
    assert not {"Shape", "Gather", "Range", "Expand", "Unsqueeze", "Cast"} & ops


@pytest.mark.parametrize("opset", [11, 22])
def test_a_detector_with_box_arithmetic(tmp_path: Path, opset: int) -> None:
    artifact = compiled(yolo(tmp_path, opset), images=(2, 3, 32, 48))
    assert artifact.manifest.outputs[0].shape == (2, 3 * 4 * 6, 7)


def test_a_channel_shuffle_that_reads_its_shape(tmp_path: Path) -> None:
    text = """shuffle (float[n, 6, h, w] x) => (float[n, 6, h, w] y) {
        sizes = Shape(x)
        batch, channels, height, width = Split(sizes)
        half = Div(channels, two)
        apart = Concat<axis = 0>(batch, two, half, height, width)
        groups = Reshape(x, apart)
        mixed = Transpose<perm = [0, 2, 1, 3, 4]>(groups)
        shuffled = Reshape(mixed, sizes)
        y = Conv<group = 2>(shuffled, w)
    }"""
    constants = {"two": np.int64([2]), "w": weights(6, 3, 1, 1)}
    compiled(write(tmp_path / "shuffle.onnx", 12, text, constants), x=(2, 6, 5, 7))


def test_a_deformable_layer_of_grid_samples(tmp_path: Path) -> None:
    text = """deformable (float[1, 4, 9, 8] x) => (float[1, 5, 9, 8] y) {
        offsets = Conv<pads = [1, 1, 1, 1]>(x, w_offset)
        moved = Transpose<perm = [0, 2, 3, 1]>(offsets)
        left, right = Split<axis = 3>(moved)
        first_grid = Add(left, base)
        second_grid = Add(right, base)
        first = GridSample<align_corners = 1>(x, first_grid)
        second = GridSample<align_corners = 1>(x, second_grid)
        taps = Concat<axis = 1>(first, second)
        y = Conv(taps, w)
    }"""
    rows, columns = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 8), indexing="ij")
    constants = {
        "w_offset": weights(4, 4, 3, 3),
        "base": np.stack([columns, rows], -1)[None].astype(np.float32),
        "w": weights(5, 8, 1, 1),
    }
    compiled(write(tmp_path / "deformable.onnx", 16, text, constants))


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_deformable_convolution_in_half_and_double_precision(tmp_path: Path, kind: str) -> None:
    text = f"""deformable ({kind}[1, 4, 6, 5] x, {kind}[1, 18, 6, 5] offset,
        {kind}[1, 9, 6, 5] mask) => ({kind}[1, 3, 6, 5] y) {{
        y = DeformConv<pads = [1, 1, 1, 1]>(x, w, offset, b, mask)
    }}"""
    dtype = {"float16": np.float16, "double": np.float64}[kind]
    constants = {"w": weights(3, 4, 3, 3).astype(dtype), "b": weights(3).astype(dtype)}
    compiled(write(tmp_path / "deformable.onnx", 19, text, constants))


def test_inputs_of_every_kind_and_outputs_of_two(tmp_path: Path) -> None:
    text = """mixed (int64[3, 5] ids, bool[3, 5, 1] mask, float16[3, 5, 4] extra)
        => (float16[3, 5, 4] kept, int64[3, 4] best) {
        words = Gather<axis = 0>(table, ids)
        sums = Add(words, extra)
        kept = Where(mask, sums, nothing)
        wide = Cast<to = 1>(kept)
        best = ArgMax<axis = 1, keepdims = 0>(wide)
    }"""
    constants = {"table": weights(2, 4).astype(np.float16), "nothing": np.float16(0)}
    path = write(tmp_path / "mixed.onnx", 17, text, constants)
    kinds = [tensor.dtype for tensor in compiled(path).manifest.inputs]
    assert kinds == ["int64", "bool", "float16"]


def test_sigmoids_that_are_all_nearly_nought(tmp_path: Path) -> None:
    text = """faint (float[1, 3, 8, 8] x) => (float[1, 2, 8, 8] y) {
        logits = Conv(x, w, b)
        y = Sigmoid(logits)
    }"""
    constants = {"w": weights(2, 3, 1, 1), "b": np.float32([-14, -15])}
    compiled(write(tmp_path / "faint.onnx", 14, text, constants))


def test_minus_one_is_an_open_size(tmp_path: Path) -> None:
    path = write(
        tmp_path / "net.onnx", 13, "net (float[n, 3] x) => (float[n, 3] y) {y = Exp(x)}", {}
    )
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"x=\(\?,3\)"):
        edgeconv.export(path)
    assert edgeconv.export(path, input_shapes={"x": (4, 3)}).golden[0].outputs["y"].shape == (4, 3)


def test_large_weights_that_one_number_fills(tmp_path: Path) -> None:
    text = """net (float[2, 600] x) => (float[2, 600] y) {
        w = ConstantOfShape<value = float[1] {0.01}>(square)
        y = Gemm(x, w, b)
    }"""
    constants = {"square": np.int64([600, 600]), "b": weights(600)}
    artifact = compiled(write(tmp_path / "filled.onnx", 9, text, constants))
    assert artifact.manifest.memory.weights_bytes >= 600 * 600 * 4


NUMBERS = """numbers (float[1, 3, 4, 5] x, int64 times) => (float[1, 3, 4, 5] y) {
    mean = ReduceMean<keepdims = 0>(x)
    centred = Sub(x, mean)
    most = ReduceMax<keepdims = 0>(centred)
    scaled = Div(centred, most)
    factor = Cast<to = 1>(times)
    y = Mul(scaled, factor)
}"""


def test_single_numbers_between_steps_layer_by_layer(tmp_path: Path) -> None:
    artifact = compiled(write(tmp_path / "numbers.onnx", 13, NUMBERS, {}))
    # Nothing is proved by a network that is multiplied by zero in every case.
    assert any(np.ptp(outputs["y"]) > 0 for _, outputs in artifact.golden_cases())
    report = artifact.verify(per_layer=True)
    report.raise_if_failed()
    assert {step.value for step in report.steps} >= {"mean", "centred", "y"}


def test_outputs_that_are_the_same_everywhere_are_told(tmp_path: Path) -> None:
    graph = """flat (float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y, float[1, 3, 4, 5] z) {
        y = Mul(x, nothing)
        z = Relu(x)
    }"""
    zero = np.zeros((1, 3, 1, 1), np.float32)
    artifact = compiled(write(tmp_path / "flat.onnx", 13, graph, {"nothing": zero}))
    report = artifact.verify()
    assert report.flat_outputs == ("y",)
    assert [result["flat"] for result in report.to_json()["outputs"]] == 2 * [True, False]
    artifact.save(tmp_path / "flat.edge")
    shown = CliRunner().invoke(app, ["verify", str(tmp_path / "flat.edge")])
    assert shown.exit_code == 0
    assert "Little was compared: y is" in shown.output + shown.stderr
