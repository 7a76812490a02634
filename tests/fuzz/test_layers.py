"""Random configurations of every family against eager PyTorch; `make fuzz` draws fresh ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

import edgeconv
from edgeconv.artifact import Artifact
from fuzz.batch import Outcome, run_batch
from fuzz.config import FAMILIES, RefusedError, draw_config
from fuzz.layers import failure, table
from fuzz.workers import run_batches

COUNT = len(FAMILIES)


@pytest.mark.parametrize(
    ("target", "first"),
    [("host", 0), ("rasp4", COUNT), ("rasp2", 2 * COUNT), ("mali-g610", 3 * COUNT)],
)
def test_every_family_equals_pytorch(target: str, first: int) -> None:
    check(range(first, first + COUNT), target)


def check(seeds: Sequence[int], target: str) -> None:
    outcomes = run_batch(seeds, target)
    assert {outcome.seed for outcome in outcomes} == set(seeds)
    failures = [failure(o, target) for o in outcomes if o.verdict == "failed"]
    assert not failures, "\n".join(failures)
    passed = [outcome for outcome in outcomes if outcome.verdict == "passed"]
    assert len(passed) > COUNT * 3 // 4, table(outcomes)


def test_a_seed_is_the_whole_configuration() -> None:
    for seed in range(COUNT):
        one, other = draw_config(seed), draw_config(seed)
        assert one.text == other.text
        for a, b in zip(one.inputs, other.inputs, strict=True):
            assert a.equal(b)
        for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True):
            assert a.equal(b)


def test_a_kernel_larger_than_its_input_is_refused() -> None:
    reasons = []
    for seed in range(0, 100 * COUNT, COUNT):
        try:
            draw_config(seed)
        except RefusedError as error:
            reasons.append(str(error))
    assert any("Kernel size can't be greater than actual input" in reason for reason in reasons)


def breaking(seeds: Sequence[int], target: str, core: int) -> list[Outcome]:
    """A batch with seed 3 raises, one with seed 5 ends the process."""
    if 5 in seeds:
        os.kill(os.getpid(), signal.SIGKILL)
    if 3 in seeds and len(seeds) > 1:
        raise ValueError
    return [Outcome(seed, "dense", target, "failed" if seed == 3 else "passed") for seed in seeds]


def test_a_batch_that_breaks_is_halved_down_to_the_one_that_breaks_it() -> None:
    outcomes = list(run_batches([(0, 1, 2, 3, 4), (5, 6, 7)], "host", 2, breaking))
    assert sorted(outcome.seed for outcome in outcomes) == list(range(8))
    assert {o.seed: o.reason for o in outcomes if o.verdict == "failed"} == {
        3: "",
        5: "the process died, or gave no answer in time",
    }


def test_the_summary_counts_verdicts_and_reasons() -> None:
    outcomes = [
        Outcome(1, "dense", "", "passed", 0.25),
        Outcome(2, "dense", "", "refused", reason="kernel 3 is larger than 12"),
        Outcome(3, "dense", "", "refused", reason="kernel 5 is larger than 2"),
        Outcome(4, "octave", "OctaveConv2d(3)", "failed", 2.0, "error 2, tolerance 1"),
    ]
    lines = table(outcomes).splitlines()
    assert lines[1].split() == ["dense", "1", "2", "0", "0.250", "(seed", "1)"]
    assert lines[3].split() == ["all", "1", "2", "1", "2.000", "(seed", "4)"]
    assert lines[-1].split(maxsplit=1) == ["2", "kernel # is larger than #"]
    assert "--count 1 --seed 4 --target host" in failure(outcomes[3], "host")
    text = failure(outcomes[3], "mali-g57", "fp16", half_arithmetic=True)
    assert "--target mali-g57 --precision fp16 --half-arithmetic" in text


def test_half_arithmetic_of_a_gpu_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    whole = edgeconv.compile

    def compile_(*arguments: Any, **options: Any) -> Artifact:
        compiled.append(whole(*arguments, **options))
        return compiled[-1]

    monkeypatch.setattr(edgeconv, "compile", compile_)
    seeds = [list(FAMILIES).index(family) for family in ("dense", "pointwise", "transposed")]
    outcomes = run_batch(seeds, "mali-g610", precision="fp16", half_arithmetic=True)
    assert {o.verdict for o in outcomes} == {"passed"}, table(outcomes)
    (artifact,) = compiled
    assert artifact.manifest.precision == "fp16"
    assert artifact.plan.half_runs
