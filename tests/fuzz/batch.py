"""Many configurations as one network: exported, compiled and run together."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor, nn

import edgeconv
from edgeconv.artifact import Artifact
from edgeconv.devices import open_session
from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.metrics import compare
from edgeconv.runtime import Model
from edgeconv.target import load_target
from fuzz.config import Config, RefusedError, draw_config

THREADS = (1, 2, 3)
# A GPU's kernels run on its own threads.
GPU_THREADS = (1,)


@dataclass(frozen=True)
class Outcome:
    """What became of one configuration.

    Attributes:
        verdict: "passed", "refused" (by PyTorch or by edgeconv, before anything ran) or "failed".
        ratio: largest error of an output, in parts of its tolerance.
        reason: why it was refused or failed.
    """

    seed: int
    family: str
    text: str
    verdict: str
    ratio: float = 0.0
    reason: str = ""


class SideBySide(nn.Module):
    """Several networks as one, each with its own inputs and outputs.

    With `stored`, each network's first input is the result of a kernel, which is stored in half
    precision where results are; an input of the whole is not.
    """

    def __init__(self, modules: Sequence[nn.Module], counts: Sequence[int], stored: bool) -> None:
        super().__init__()
        self.nets, self.counts, self.stored = nn.ModuleList(modules), list(counts), stored

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        left = iter(inputs)
        results = []
        for net, count in zip(self.nets, self.counts, strict=True):
            first, *others = itertools.islice(left, count)
            results.append(net(-first if self.stored else first, *others))
        return [t for y in results for t in ([y] if isinstance(y, Tensor) else y)]


def run_batch(
    seeds: Sequence[int],
    target: str,
    core: int | None = None,
    *,
    precision: str = "fp32",
    half_arithmetic: bool = False,
) -> list[Outcome]:
    """Compare the configurations of all seeds with eager PyTorch.

    `core` is the only one to compile on, None for all; `precision` and `half_arithmetic` are as for
    `edgeconv.compile`.

    Raises what exporting, compiling or running raises, where there are several: one of them
    cannot be compiled. A single one is refused or failed then.
    """
    refused, configs = [], []
    for seed in seeds:
        try:
            configs.append(draw_config(seed))
        except RefusedError as error:
            refused.append(Outcome(seed, error.family, error.text, "refused", reason=str(error)))
    if not configs:
        return refused
    try:
        with _compiling_on(core):
            artifact = _compiled(configs, target, precision, half_arithmetic)
        return refused + _compared(configs, artifact)
    except Exception as error:
        if len(seeds) > 1:
            raise
        honest = isinstance(error, UsageError | UnsupportedModelError)
        (config,) = configs
        verdict = "refused" if honest else "failed"
        lines = str(error).strip().splitlines() or [""]
        # TVM's errors show whole functions between what failed and why.
        reason = f"{type(error).__name__}: {' ... '.join(dict.fromkeys([lines[0], lines[-1]]))}"
        return [Outcome(config.seed, config.family, config.text, verdict, reason=reason)]


def _compiled(
    configs: Sequence[Config], target: str, precision: str, half_arithmetic: bool
) -> Artifact:
    """Return all of them as one artifact, whose golden case are their inputs."""
    modules, counts = [c.module for c in configs], [len(c.inputs) for c in configs]
    network = SideBySide(modules, counts, stored=precision != "fp32").eval()
    inputs = [tensor for config in configs for tensor in config.inputs]
    gpu = load_target(target).gpu is not None
    return edgeconv.compile(
        network,
        inputs,
        target=target,
        golden_inputs=[{f"inputs_{i}": tensor.numpy() for i, tensor in enumerate(inputs)}],
        precision=precision,
        half_arithmetic=half_arithmetic,
        # What a twin is made of is in every artifact, without an NDK in a bundle only.
        emit="bundle" if gpu else "lib" if target == "host" else "exe",
    )


def _compared(configs: Sequence[Config], artifact: Artifact) -> list[Outcome]:
    """Return what became of each."""
    (case, outputs), *_ = artifact.golden_cases()
    results, wanted = list(_results(artifact, case)), iter(outputs.items())
    tolerances = {tensor.name: tensor.tolerance for tensor in artifact.manifest.outputs}
    return [
        _judge(config, dict(itertools.islice(wanted, config.outputs)), results, tolerances)
        for config in configs
    ]


def _results(artifact: Artifact, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the outputs for every number of threads."""
    target = artifact.manifest.target
    counts = THREADS if target.gpu is None else GPU_THREADS
    if target.name != "host":
        session = open_session(artifact)
        for threads in counts:
            yield session.run(case, threads)
        return
    with TemporaryDirectory() as folder:
        path = f"{folder}/batch.edge"
        artifact.save(path)
        for threads in counts:
            with Model(path, threads=threads) as model:
                yield model.run(case)


def _judge(
    config: Config,
    wanted: dict[str, Any],
    results: Sequence[dict[str, Any]],
    tolerances: dict[str, float],
) -> Outcome:
    ratio, reason = 0.0, ""
    for name, want in wanted.items():
        got = results[0][name]
        if any(not np.array_equal(got, other[name], equal_nan=True) for other in results[1:]):
            reason = f"{name}: the number of threads changes the result"
        error, tolerance = compare(got, want).max_rel, tolerances[name]
        if not error <= tolerance:
            reason = f"{name}: error {error:.3g}, tolerance {tolerance:.3g}"
        ratio = max(ratio, error / tolerance if tolerance else 0.0)
    verdict = "failed" if reason else "passed"
    return Outcome(config.seed, config.family, config.text, verdict, ratio, reason)


@contextmanager
def _compiling_on(core: int | None) -> Iterator[None]:
    """Keep a compilation to one core: batches are what runs in parallel."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
