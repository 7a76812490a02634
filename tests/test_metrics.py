import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeconv.errors import UsageError
from edgeconv.metrics import Metrics, compare

FINITE = arrays(np.float32, st.integers(1, 20), elements=st.floats(-1e6, 1e6, width=32))
ANY = arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32))


@given(ANY)
def test_an_array_equals_itself(array):
    metrics = compare(array, array.copy())
    assert metrics == Metrics(0.0, 0.0, math.inf, 1.0)
    assert metrics.within(0.0)


@given(FINITE, st.floats(0.01, 100))
def test_relative_error_and_cosine_do_not_depend_on_scale(array, scale):
    want = array.astype(np.float64) + 2e6  # away from zero
    got = want * 1.001
    one, other = compare(got, want), compare(got * scale, want * scale)
    assert one.max_rel == pytest.approx(0.001)
    assert other.max_rel == pytest.approx(one.max_rel)
    assert other.cosine == pytest.approx(1)
    assert one.sqnr_db == pytest.approx(60)  # 0.1 % error is 60 dB


def test_known_values():
    metrics = compare(np.array([3.0, 0.0]), np.array([4.0, 0.0]))
    assert metrics.max_abs == 1
    assert metrics.max_rel == 0.25
    assert metrics.sqnr_db == pytest.approx(10 * math.log10(16))
    assert compare(np.array([1.0, 0.0]), np.array([0.0, 1.0])).cosine == 0
    assert compare(np.array([-1.0]), np.array([1.0])).cosine == pytest.approx(-1)


@given(ANY, st.data())
def test_one_wrong_not_a_number_fails_any_tolerance(array, data):
    index = data.draw(st.integers(0, len(array) - 1))
    want = np.nan_to_num(array, nan=1.0, posinf=1.0, neginf=1.0)
    got = want.copy()
    got[index] = np.nan
    for metrics in (compare(got, want), compare(want, got)):
        assert math.isnan(metrics.max_abs)
        assert not metrics.within(math.inf)


def test_infinities_have_to_agree():
    inf = np.array([np.inf, 1.0])
    assert compare(inf, inf).max_abs == 0
    for got in (-inf, np.array([1.0, 1.0]), np.array([np.nan, 1.0])):
        assert not compare(got, inf).within(1e9)
        assert not compare(inf, got).within(1e9)


def test_an_error_where_zeros_are_wanted_is_infinitely_large():
    metrics = compare(np.array([1e-9]), np.array([0.0]))
    assert (metrics.max_rel, metrics.sqnr_db, metrics.cosine) == (math.inf, -math.inf, 0.0)
    assert metrics.to_json()["max_rel"] == "inf"
    assert metrics.to_json()["sqnr_db"] == "-inf"


def test_top1_is_the_share_of_agreeing_rows():
    want = np.eye(4, dtype=np.float32)
    got = want.copy()
    got[0] = [0, 0, 0, 1]
    assert compare(got, want).top1 == 0.75
    assert compare(want[0], want[0]).top1 is None
    assert compare(want[:, :1], want[:, :1]).top1 is None


def test_integers_and_empty_arrays_and_shapes():
    assert compare(np.array([255], np.uint8), np.array([0], np.uint8)).max_abs == 255
    assert compare(np.zeros((0, 3)), np.zeros((0, 3))).max_abs == 0
    with pytest.raises(UsageError, match=r"\(2,\) with \(1, 2\)"):
        compare(np.zeros(2), np.zeros((1, 2)))
