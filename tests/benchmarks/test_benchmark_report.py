"""Ratios, means, and the shape of tables and JSON, of made-up measurements."""

import json
from pathlib import Path

import pytest

from benchmarks.case import Case
from benchmarks.compare import Comparison, Measured
from benchmarks.machine import Disturbance
from benchmarks.report import (
    Report,
    geometric_mean,
    markdown_table,
    rewrite,
    table_rows,
    text_table,
)
from edgeconv.bench import summarise

QUIET = Disturbance(load_average=0.5, other_cores=0.01, steal=0.0)


def case(name, family="network"):
    return Case(
        name=name,
        source=f"zoo:{name}",
        family=family,
        macs=1_000_000,
        inputs=("x",),
        outputs=("y",),
        tolerances=(1e-6,),
        compile_s=2.5,
        compiled_cold=True,
        key="key",
        folder=Path("nowhere"),
    )


def took(ms, version="1"):
    return Measured(version=version, times=summarise([ms, ms, 2 * ms]), runs=3, error=1e-7)


def report(*comparisons):
    return Report(
        machine={"processor": "P", "cores": 2, "kernel": "6"},
        peaks={1: 100.0},
        names=("edgeconv", "onnxruntime"),
        seconds=1.0,
        comparisons=comparisons,
    )


def compared(name, ours, theirs, disturbance=QUIET, family="network"):
    peers = {"edgeconv": ours, "onnxruntime": theirs}
    return Comparison(case(name, family), 1, disturbance, peers)


def test_means_are_geometric_and_tell_where_we_are_behind():
    found = report(
        compared("a", took(1.0), took(4.0)),
        compared("b", took(2.0), took(1.0)),
        compared("c", took(1.0), Measured(status="refused", reason="no such operator")),
        compared("d", took(1.0), took(9.0), family="dense"),
    ).means()
    assert [(m["of"], m["threads"]) for m in found] == [("networks", 1), ("layers", 1)]
    assert found[0]["means"] == pytest.approx({"onnxruntime": 2**0.5, "fastest": 2**0.5})
    assert found[0]["counts"] == {"onnxruntime": 2, "fastest": 2}
    assert found[0]["ahead"] == {"onnxruntime": 1, "fastest": 1}
    assert found[1]["means"]["onnxruntime"] == pytest.approx(9.0)
    assert geometric_mean([1.0, 10.0, 100.0]) == pytest.approx(10.0)


def test_operations_a_second_and_their_part_of_the_peak():
    found = report(compared("a", took(0.5), took(1.0)))
    comparison = found.comparisons[0]
    assert found.gflops(comparison) == pytest.approx(4.0)  # 2 MFLOP in 0.5 ms
    assert found.of_peak(comparison) == pytest.approx(0.04)


def test_json_holds_every_measurement_and_reason():
    refused = Measured(status="refused", reason="no such operator\nin line 2")
    data = report(compared("a", took(1.0), took(3.0)), compared("b", took(1.0), refused)).to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    first, second = data["comparisons"]
    assert first["ratios"] == {"onnxruntime": 3.0}
    assert (first["fastest_peer"], first["ratio_to_fastest"]) == ("onnxruntime", 3.0)
    assert first["peers"]["edgeconv"]["median_ms"] == 1.0
    assert (second["fastest_peer"], second["ratios"]) == (None, {})
    assert second["peers"]["onnxruntime"]["reason"] == "no such operator\nin line 2"
    assert data["notes"] == []


def test_a_busy_machine_is_said_in_table_and_json():
    busy = Disturbance(load_average=5.0, other_cores=1.5, steal=0.0)
    found = report(compared("a", took(1.0), took(3.0), busy), compared("b", took(1.0), took(3.0)))
    assert "busy machine in 1 of 2 comparisons: others took up to 1.5 cores" in found.notes()[0]
    text = found.tables(text_table)
    assert "a *" in text
    assert "b *" not in text
    assert found.notes()[0] in text
    assert [c["busy"] for c in found.to_json()["comparisons"]] == [True, False]
    assert Disturbance(load_average=0.1, other_cores=0.0, steal=0.05).busy


def test_tables_have_a_row_for_each_case_and_reason():
    refused = Measured(status="refused", reason="no such operator\n" + "x" * 200)
    text = report(compared("a", took(1.0), refused)).tables(markdown_table)
    assert "| a | 1.000 | 1.000 | 1.800 | 2 | 2% | refused |  |" in text
    assert "| a | 1 | ONNX Runtime | refused | no such operator xxx" in text
    assert "x" * 120 not in text


def test_table_styles():
    head, rows = ("", "n"), [("long name", "1"), ("b|c", "10")]
    assert text_table(head, rows) == "            n\nlong name   1\nb|c        10"
    assert markdown_table(head, rows).splitlines()[3] == "| b\\|c | 10 |"


def test_only_what_is_between_the_marks_is_rewritten(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- host: made by x -->\nold\n<!-- end of host -->\ntail\n")
    rewrite(page, "host", "new")
    rewrite(page, "host", "newer\n")
    wanted = "# A\n<!-- host: made by x -->\n\nnewer\n\n<!-- end of host -->\ntail\n"
    assert page.read_text() == wanted
    with pytest.raises(ValueError, match="no marks <!-- arm"):
        rewrite(page, "arm", "new")


def test_a_table_of_a_page_is_read_as_it_was_written(tmp_path):
    page = tmp_path / "page.md"
    head, rows = ("", "n"), [("a", "1"), ("b|c", ""), ("", "3")]
    page.write_text("<!-- arm: made by x -->\n<!-- end of arm -->\n| a | 2 |\n")
    rewrite(page, "arm", markdown_table(head, rows) + "\n\nA note.\n\n| other | table |")
    assert table_rows(page, "arm", head) == rows
    assert table_rows(page, "arm", ("", "m")) == []
    with pytest.raises(ValueError, match="no marks <!-- host"):
        table_rows(page, "host", head)


def test_the_page_has_the_sections_that_the_commands_fill_in(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    copy = tmp_path / "performance.md"
    copy.write_text(page.read_text())
    for section in ("host", "arm"):
        rewrite(copy, section, f"tables of {section}")
    assert "tables of host" in copy.read_text()
    assert "tables of arm" in copy.read_text()
