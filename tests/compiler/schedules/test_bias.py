"""Where a convolution's sums start, by the functions that the compiler would schedule."""

from __future__ import annotations

import pytest
import tvm
import tvm_ffi
from tvm import te, tirx

from edgeconv.compiler.compute.conv import conv_blocked, depthwise_blocked, pointwise_blocked
from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.schedules.bias import start_from_bias

WINDOW = Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1))
PADDED = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))


def direct() -> tuple[str, list[te.Tensor], te.Tensor]:
    data = te.placeholder((1, 2, 9, 10, 4), name="data")
    weight = te.placeholder((2, 3, 3, 8, 1, 4), name="weight")
    options = {"groups": 1, "size": (7, 7), "columns": 8}
    return "conv", [data, weight], conv_blocked(data, weight, WINDOW, **options)


def pointwise() -> tuple[str, list[te.Tensor], te.Tensor]:
    data = te.placeholder((1, 2, 49, 4), name="data")
    weight = te.placeholder((1, 8, 2, 4), name="weight")
    return "pointwise", [data, weight], pointwise_blocked(data, weight, (7, 7))


def depthwise() -> tuple[str, list[te.Tensor], te.Tensor]:
    data = te.placeholder((1, 2, 7, 7, 4), name="data")
    weight = te.placeholder((2, 3, 3, 4), name="weight")
    return "window", [data, weight], depthwise_blocked(data, weight, PADDED)


def added(result: te.Tensor, shape: tuple[int, ...]) -> tuple[te.Tensor, te.Tensor]:
    addend = te.placeholder(shape, name="addend")

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        at = [0 if size == 1 else i for i, size in zip(index, shape, strict=True)]
        return addend(*at) + result(*index)

    return addend, te.compute(result.shape, element, name="sum")


def started(convolution, shape: tuple[int, ...], relu: bool = False) -> str:
    anchor, operands, result = convolution()
    addend, result = added(result, shape)
    if relu:
        total, zero = result, tirx.const(0, "float32")
        result = te.compute(total.shape, lambda *i: tirx.max(total(*i), zero), name="relu")
    function = te.create_prim_func([*operands, addend, result])
    return start_from_bias(tvm.IRModule({"main": function}), anchor).script()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("convolution", [direct, pointwise, depthwise])
def test_sums_start_from_the_bias(convolution, relu: bool) -> None:
    anchor, _, _ = convolution()
    script = started(convolution, (1, 2, 1, 1, 4), relu)
    start = script[script.index(f'T.sblock("{anchor}")') :].split("T.init()")[1].splitlines()[1]
    assert "= addend[0, " in start, start
    assert "addend[" not in script.split('T.sblock("sum")')[1]


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (direct, (1, 2, 7, 7, 4)),  # the sums cover columns beyond the image
        (direct, (1, 2, 1, 7, 4)),
        (pointwise, (1, 2, 7, 7, 4)),  # one axis of pixels became two
        (pointwise, (1, 1, 7, 1, 1)),
    ],
)
def test_addends_of_other_axes_are_added_at_the_end(convolution, shape: tuple[int, ...]) -> None:
    script = started(convolution, shape)
    assert "= T.float32(0.0)" in script.split("T.init()")[1].splitlines()[1]
    assert "addend[" in script.split('T.sblock("sum")')[1]


def test_a_sum_that_is_read_twice_starts_from_zero() -> None:
    anchor, operands, result = pointwise()
    addend, total = added(result, (1, 2, 1, 1, 4))
    both = te.compute(total.shape, lambda *i: total(*i) * result(*i), name="both")
    function = te.create_prim_func([*operands, addend, both])
    module = tvm.IRModule({"main": function})
    assert tvm_ffi.structural_equal(start_from_bias(module, anchor), module)
