"""Times by number of threads: the turns, with ONNX Runtime in our place, and the table."""

from dataclasses import replace

import pytest
from test_benchmark_report import QUIET, case, compared, report, took
from test_compare import make_case

from benchmarks import compare, scaling
from benchmarks.machine import Disturbance
from benchmarks.report import markdown_table
from benchmarks.scaling import Scaling, scale
from edgeconv.bench import summarise


@pytest.fixture(autouse=True)
def another_runtime(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "BUILD", tmp_path / "build")
    monkeypatch.setattr(scaling, "OURS", "onnxruntime")


def test_every_number_of_threads_is_timed(tmp_path):
    found = scale(make_case(tmp_path / "case"), [2, 1], seconds=0.05)
    assert list(found.times) == [1, 2]
    assert all(0 < t.min_ms <= t.median_ms <= t.p90_ms for t in found.times.values())
    assert found.speedups()[1] == (1.0, 1.0)
    assert found.speedups()[2] == pytest.approx(
        (
            found.times[1].median_ms / found.times[2].median_ms,
            found.times[1].min_ms / found.times[2].min_ms,
        )
    )


def test_what_is_wrong_is_not_timed(tmp_path):
    assert scale(make_case(tmp_path / "case", scale=1.1), [1, 2], seconds=0.05) is None


def test_a_row_says_how_many_times_as_fast():
    times = {1: summarise([4.0, 5.0, 9.0]), 2: summarise([2.5, 2.5, 2.6])}
    found = report(compared("a", took(1.0), took(3.0)))
    busy = Disturbance(load_average=0.1, other_cores=0.0, steal=0.05)
    rows = (Scaling(case("a"), QUIET, times), Scaling(case("b"), busy, times))
    table = replace(found, scalings=rows)
    text = table.tables(markdown_table)
    assert "| 2: median ms | min | times as fast | by minima |" in text
    assert "| a | 1 | 5.000 | 4.000 | 2.500 | 2.500 | 2.00 | 1.60 |" in text
    assert "| b * | 1 |" in text
    assert "busy machine in 1 of 3 comparisons" in text
    row = table.to_json()["scalings"][0]
    assert row["speedups"]["2"] == {"of_medians": 2.0, "of_minima": pytest.approx(1.6)}
    assert "took turns" not in found.tables(markdown_table)
