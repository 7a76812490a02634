"""Any number of samples through a program whose batch is compiled in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from edgeconv.artifact import Array, Arrays
from edgeconv.errors import UsageError
from edgeconv.plan import Tensor

Progress = Callable[[str, int, int], None]


def run_samples(
    run: Callable[[Arrays], Mapping[str, Array]],
    samples: Mapping[str, Array],
    inputs: Sequence[Tensor],
    *,
    progress: Progress | None = None,
) -> Arrays:
    """Run on batch after batch and return the outputs of all samples, by name.

    A last, shorter batch is filled up with zeros, whose outputs are dropped.

    Args:
        run: maps one batch, arrays by input name, to arrays by output name.
        samples: arrays by input name, (N, ...) for any N but 0.
        inputs: the program's inputs, (batch, ...).
        progress: called with ("run", samples done, N).

    Raises:
        UsageError: names, dtypes or shapes do not fit, or the first axes are no batch.
    """
    count, batch = check_samples(samples, inputs), inputs[0].shape[0]
    results: dict[str, list[Array]] = {}
    for start in range(0, count, batch):
        parts = {name: array[start : start + batch] for name, array in samples.items()}
        used = min(batch, count - start)
        for name, array in run(dict(_filled(parts, inputs))).items():
            if array.ndim == 0 or len(array) != batch:
                raise UsageError(
                    f"output {name!r} is {list(array.shape)}: it has no place for each of the "
                    f"{batch} samples of a batch."
                )
            results.setdefault(name, []).append(array[:used])
        if progress:
            progress("run", start + used, count)
    return {name: np.concatenate(arrays) for name, arrays in results.items()}


def check_samples(samples: Mapping[str, Array], inputs: Sequence[Tensor]) -> int:
    """Return the number of samples; raises UsageError where they do not fit the inputs."""
    listing = ", ".join(f"{t.name!r} {t.dtype} {['N', *t.shape[1:]]}" for t in inputs)
    if len({tensor.shape[:1] for tensor in inputs}) != 1 or not inputs[0].shape:
        raise UsageError(f"the model's inputs have no batch in common: {listing}.")
    if set(samples) != {tensor.name for tensor in inputs}:
        raise UsageError(f"samples of {', '.join(samples)}; the model takes {listing}.")
    for tensor in inputs:
        array = samples[tensor.name]
        fits = array.ndim == len(tensor.shape) and array.shape[1:] == tensor.shape[1:]
        if array.dtype != np.dtype(tensor.dtype) or not fits:
            raise UsageError(
                f"samples of {tensor.name!r}: {array.dtype} {list(array.shape)}; the model takes "
                f"{listing}."
            )
    counts = {len(array) for array in samples.values()}
    if len(counts) != 1 or counts == {0}:
        raise UsageError(f"samples: the inputs hold {sorted(counts)} samples.")
    return counts.pop()


def _filled(parts: Arrays, inputs: Sequence[Tensor]) -> Iterator[tuple[str, Array]]:
    for tensor in inputs:
        full = np.zeros(tensor.shape, tensor.dtype)
        full[: len(parts[tensor.name])] = parts[tensor.name]
        yield tensor.name, full
