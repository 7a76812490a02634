import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.batching import run_samples
from edgeconv.errors import UsageError
from edgeconv.plan import Tensor


def tensors(batch: int) -> tuple[Tensor, Tensor]:
    return Tensor("a", (batch, 2, 3), "float32"), Tensor("b", (batch,), "int64")


def samples(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(count)
    return {
        "a": rng.standard_normal((count, 2, 3)).astype(np.float32),
        "b": rng.integers(9, size=count),
    }


def network(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"sum": inputs["a"].sum((1, 2)) + inputs["b"], "twice": inputs["a"] * 2}


@given(count=st.integers(1, 20), batch=st.integers(1, 7))
def test_batches_change_nothing(count: int, batch: int) -> None:
    sizes: list[int] = []
    done: list[tuple[int, int]] = []

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(len(inputs["a"]))
        return network(inputs)

    given_samples = samples(count)
    got = run_samples(run, given_samples, tensors(batch), progress=lambda _, *at: done.append(at))
    for name, want in network(given_samples).items():
        np.testing.assert_array_equal(got[name], want)
    assert sizes == [batch] * -(-count // batch)
    assert done[-1] == (count, count)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": np.zeros((0, 2, 3), np.float32), "b": np.zeros(0, np.int64)}, r"hold \[0\] samples"),
        ({"a": samples(2)["a"]}, "samples of a; the model takes 'a' float32 .*'b' int64"),
        ({**samples(2), "c": np.zeros(2)}, "samples of a, b, c"),
        ({**samples(2), "b": np.zeros(3, np.int64)}, r"hold \[2, 3\] samples"),
        ({**samples(2), "b": np.zeros(2)}, "samples of 'b': float64"),
        ({**samples(2), "b": np.zeros((), np.int64)}, r"samples of 'b': int64 \[\]"),
        ({**samples(2), "a": np.zeros((2, 3, 2), np.float32)}, r"'a': float32 \[2, 3, 2\]"),
    ],
)
def test_samples_that_do_not_fit_are_refused(wrong: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_samples(network, wrong, tensors(2))


def test_inputs_and_outputs_without_a_common_batch_are_refused() -> None:
    odd = (Tensor("a", (2, 2, 3), "float32"), Tensor("b", (3,), "int64"))
    with pytest.raises(UsageError, match="no batch in common"):
        run_samples(network, samples(2), odd)
    with pytest.raises(UsageError, match="no batch in common"):
        run_samples(network, {"x": np.zeros(())}, (Tensor("x", (), "float64"),))
    with pytest.raises(UsageError, match=r"output 'mean' is \[\]: it has no place"):
        run_samples(lambda inputs: {"mean": inputs["a"].mean()}, samples(2), tensors(2))
