"""verify --data: accuracy of an artifact on a data set."""

import sys

import numpy as np
import pytest

import edgeconv
from edgeconv import digits


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "octave.edge"
    edgeconv.compile("zoo:digits/octave", input_shapes={"image": (64, 1, 8, 8)}).save(path)
    return path


@pytest.fixture
def data(tmp_path, monkeypatch):
    path = tmp_path / "digits.npz"
    monkeypatch.setattr(sys, "argv", ["edgeconv.digits", str(path)])
    digits.main()
    return path


def test_both_accuracies_are_told(cli, cli_json, artifact, data):
    told = cli("verify", artifact, "--data", data).stdout
    assert "Top-1 accuracy on 360 samples: artifact 99." in told
    report = cli_json("verify", artifact, "--data", data)
    assert report["accuracy"]["samples"] == 360
    assert report["accuracy"]["device"] == report["accuracy"]["reference"] > 0.98
    assert (report["outputs"][-1]["case"], report["outputs"][-1]["top1"]) == ("data", 1)


def test_data_without_labels_is_compared_only(cli_json, artifact, tmp_path):
    np.savez(tmp_path / "some.npz", image=digits.load("test")[0][:3])
    report = cli_json("verify", artifact, "--data", tmp_path / "some.npz")
    assert report["passed"] is True
    assert report["accuracy"] is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(2, np.int64), "expected 3 class indices, found int64 [2]"),
        (np.zeros(3), "expected 3 class indices, found float64 [3]"),
        (np.array([0, 9, 10]), "from 0 to 10, but the network has 10 classes"),
        (np.array([-1, 0, 1]), "from -1 to 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(cli, artifact, tmp_path, labels, message):
    np.savez(tmp_path / "odd.npz", image=digits.load("test")[0][:3], labels=labels)
    assert message in cli("verify", artifact, "--data", tmp_path / "odd.npz", code=2).stderr


def test_an_input_may_be_called_labels(cli_json, tmp_path):
    import torch

    class Sum(torch.nn.Module):
        def forward(self, image, labels):
            return image + labels

    example = {"image": torch.ones(2, 3), "labels": torch.ones(2, 3)}
    path = tmp_path / "sum.edge"
    edgeconv.compile(Sum(), example).save(path)
    np.savez(tmp_path / "x.npz", **{name: np.ones((5, 3), np.float32) for name in example})
    report = cli_json("verify", path, "--data", tmp_path / "x.npz")
    assert report["outputs"][-1]["case"] == "data"
    assert report["passed"] is True
