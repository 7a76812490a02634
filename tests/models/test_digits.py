"""Accuracy on real data: trained networks of the rarer families read handwritten digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edgeconv
from edgeconv import digits, zoo
from edgeconv.batching import run_samples
from edgeconv.classification import top1_accuracy
from edgeconv.devices import open_session
from edgeconv.metrics import compare
from edgeconv.nn import DynamicConv2d

FAMILIES = list(zoo.list_models()["digits"].variants)
BATCH = {"image": (60, 1, 8, 8)}  # six runs for the test part


def test_there_is_one_network_for_each_of_the_rarer_families() -> None:
    assert set(FAMILIES) == {
        "attention_augmented",
        "conditional",
        "deformable",
        "dynamic",
        "octave",
        "selective_kernel",
    }


@pytest.mark.parametrize("target", ["host", "rasp4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_artifact_reads_every_digit_as_pytorch_does(family: str, target: str) -> None:
    images, labels = digits.load("test")
    with torch.no_grad():
        want = zoo.load("digits", family)(torch.from_numpy(images)).numpy()
    artifact = edgeconv.compile(f"zoo:digits/{family}", target=target, input_shapes=BATCH)
    session = open_session(artifact)
    (got,) = run_samples(session.run, {"image": images}, artifact.manifest.inputs).values()
    np.testing.assert_array_equal(got.argmax(axis=1), want.argmax(axis=1))
    assert compare(got, want).within(artifact.manifest.outputs[0].tolerance)
    assert top1_accuracy(got, labels) > 0.98


def test_the_parts_have_every_digit_and_no_picture_in_common() -> None:
    (train, train_labels), (test, test_labels) = digits.load("train"), digits.load("test")
    assert train.shape == (1437, 1, 8, 8)
    assert test.shape == (360, 1, 8, 8)
    assert (train.min(), train.max()) == (test.min(), test.max()) == (0, 1)
    assert set(train_labels) == set(test_labels) == set(range(10))
    known = {picture.tobytes() for picture in train}
    assert not any(picture.tobytes() in known for picture in test)


def test_training_froze_the_temperature_of_dynamic_convolutions() -> None:
    layers = [m for m in zoo.load("digits", "dynamic").modules() if isinstance(m, DynamicConv2d)]
    assert [float(layer.temperature) for layer in layers] == [1.0] * 4
