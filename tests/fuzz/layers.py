"""`python -m fuzz layers`: random configurations of every layer against eager PyTorch."""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

from edgeconv.precision import Precision
from fuzz.batch import Outcome, run_batch
from fuzz.config import FAMILIES
from fuzz.workers import run_batches


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=10_000, help="number of configurations")
    parser.add_argument("--seed", type=int, help="of the first one; drawn by default")
    parser.add_argument("--target", default="host")
    parser.add_argument("--precision", choices=[*Precision], default="fp32", help="of GPUs")
    parser.add_argument("--half-arithmetic", action="store_true", help="of GPUs that have it")
    parser.add_argument("--family", choices=FAMILIES, help="instead of all in turn")
    parser.add_argument("--batch", type=int, default=40, help="configurations per compilation")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))


def main(options: argparse.Namespace) -> int:
    """Run, print the table, and return the exit code: 1 where a configuration failed."""
    first = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
    step = 1
    if options.family:
        step = len(FAMILIES)
        first += (list(FAMILIES).index(options.family) - first) % step
    print(f"{options.count} configurations on {options.target}, seeds from {first}", flush=True)
    seeds = iter(range(first, first + options.count * step, step))
    batches = list(iter(lambda: tuple(itertools.islice(seeds, options.batch)), ()))
    # Thousands of kernels that no one needs again stay out of the user's cache.
    with tempfile.TemporaryDirectory(prefix="edgeconv-fuzz-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        outcomes: list[Outcome] = []
        started = time.monotonic()
        try:
            precision, in_half = options.precision, options.half_arithmetic
            runner = functools.partial(run_batch, precision=precision, half_arithmetic=in_half)
            for outcome in run_batches(batches, options.target, options.processes, runner):
                outcomes.append(outcome)
                if outcome.verdict == "failed":
                    text = failure(outcome, options.target, precision, half_arithmetic=in_half)
                    print(f"\n{text}", flush=True)
                _progress(len(outcomes), options.count, started)
        except KeyboardInterrupt:
            print(f"\nstopped after {len(outcomes)}")
    print()
    print(table(outcomes))
    complete = len(outcomes) == options.count
    return 0 if complete and all(outcome.verdict != "failed" for outcome in outcomes) else 1


def failure(
    outcome: Outcome, target: str, precision: str = "fp32", *, half_arithmetic: bool = False
) -> str:
    """Say what failed, and how to see it again."""
    command = f"python -m fuzz layers --count 1 --seed {outcome.seed} --target {target}"
    if precision != "fp32":
        command += f" --precision {precision}"
    if half_arithmetic:
        command += " --half-arithmetic"
    return (
        f"FAILED seed {outcome.seed} ({outcome.family}): {outcome.reason}\n"
        f"  {outcome.text}\n"
        f"  again: PYTHONPATH=.:tests .venv/bin/{command}"
    )


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the summary: a line per family, then why configurations were refused."""
    families: dict[str, list[Outcome]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        families[outcome.family].append(outcome)
        families["all"].append(outcome)
        if outcome.verdict == "refused":
            reasons[_kind(outcome.reason)] += 1
    families["all"] = families.pop("all", [])
    lines = [f"  {'family':<20} {'passed':>7} {'refused':>8} {'failed':>7}   worst error/tolerance"]
    for family, members in families.items():
        verdicts = Counter(outcome.verdict for outcome in members)
        worst = max(
            (o for o in members if o.verdict != "refused"), key=lambda o: o.ratio, default=None
        )
        at = "" if worst is None else f"{worst.ratio:.3f} (seed {worst.seed})"
        lines.append(
            f"  {family:<20} {verdicts['passed']:>7} {verdicts['refused']:>8} "
            f"{verdicts['failed']:>7}   {at}"
        )
    lines += ["", "  refused:"] if reasons else []
    lines += [f"  {count:>6}  {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


def _kind(reason: str) -> str:
    """Return the reason without its numbers, so that equal reasons are counted together."""
    words = "".join("#" if character.isdigit() else character for character in reason)
    while "##" in words:
        words = words.replace("##", "#")
    return words[:160]


def _progress(done: int, count: int, started: float) -> None:
    seconds = time.monotonic() - started
    left = seconds / done * (count - done)
    if sys.stdout.isatty() or done % 100 == 0:
        end = "\r" if sys.stdout.isatty() else "\n"
        print(f"{done}/{count}, {seconds:.0f} s, {left:.0f} s left ", end=end, flush=True)
