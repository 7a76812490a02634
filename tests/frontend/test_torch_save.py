"""Files of `torch.save`: bare weights with --arch, pickled modules, payloads, NaN."""

import pickle
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from payload import Bomb
from torch import nn

from edgeconv import zoo
from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.frontend import load_source

ARCH = "resnet18/tiny"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return zoo.load("resnet18", "tiny").state_dict()


def save(path: Path, content: object, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"epoch": 3, "state_dict": weights},
        lambda weights: {"model": {f"module.{name}": w for name, w in weights.items()}},
        lambda weights: {n: w for n, w in weights.items() if not n.endswith("batches_tracked")},
    ],
)
def test_bare_weights_fill_the_named_network(tmp_path: Path, weights, wrap) -> None:
    marked = {**weights, "classifier.bias": torch.full((10,), 7.0)}
    path = save(tmp_path / "mine.pth", wrap(marked))
    source = load_source(path, arch=ARCH)
    assert (source.name, source.origin) == ("resnet18_tiny", "mine.pth")
    assert source.module.state_dict()["classifier.bias"].tolist() == [7] * 10
    assert load_source(path, arch=f"zoo:{ARCH}").preprocessing is not None


def test_without_arch_the_fitting_network_is_named(tmp_path: Path, weights) -> None:
    with pytest.raises(UnsupportedModelError, match=r"weights only .*give --arch resnet18/tiny"):
        load_source(save(tmp_path / "mine.pt", weights))
    with pytest.raises(UnsupportedModelError, match=r"weights only \(1 tensors\).*--arch NAME"):
        load_source(save(tmp_path / "other.pt", {"w": torch.ones(2)}))


def test_weights_that_do_not_fit_say_how(tmp_path: Path, weights) -> None:
    changed = dict(weights)
    del changed["stem.conv.weight"]
    changed["extra"] = torch.ones(1)
    changed["classifier.bias"] = torch.ones(11)
    with pytest.raises(UnsupportedModelError) as refused:
        load_source(save(tmp_path / "mine.pt", changed), arch=ARCH)
    text = str(refused.value)
    for part in (
        "do not fit zoo:resnet18/tiny",
        "1 missing: stem.conv.weight",
        "1 unexpected: extra",
        "1 of another shape: classifier.bias (11,) for (10,)",
    ):
        assert part in text


def test_arch_goes_with_bare_weights_only(tmp_path: Path, weights) -> None:
    zoo.save_checkpoint(tmp_path / "own.pt", "resnet18", "tiny", zoo.load("resnet18", "tiny"))
    (tmp_path / "net.onnx").write_bytes(b"any")
    for model in ("zoo:resnet18/tiny", tmp_path / "own.pt", tmp_path / "net.onnx", nn.ReLU()):
        with pytest.raises(UsageError, match="--arch resnet18"):
            load_source(model, arch="resnet18", input_shapes={})
    with pytest.raises(UsageError, match="no network 'nothing' in the zoo"):
        load_source(save(tmp_path / "mine.pt", weights), arch="nothing")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.ones(3)])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(UnsupportedModelError, match="neither a network nor its weights"):
        load_source(save(tmp_path / "mine.pt", content))


def test_payloads_do_not_run_in_any_container(tmp_path: Path, weights) -> None:
    mark = tmp_path / "ran"
    bomb = Bomb(mark)
    old = {"_use_new_zipfile_serialization": False}
    save(tmp_path / "zip.pt", {**weights, "more": bomb})
    save(tmp_path / "old.pth", {**weights, "more": bomb}, **old)
    save(tmp_path / "module.pt", {"edgeconv": 1, "state_dict": bomb})
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(bomb))
    (tmp_path / "protocol2.pt").write_bytes(pickle.dumps(bomb, 2))
    (tmp_path / "protocol0.pt").write_bytes(pickle.dumps(bomb, 0))
    (tmp_path / "pickle").write_bytes(pickle.dumps(bomb))
    with tarfile.open(tmp_path / "tar.pt", "w") as archive:
        for name in ("pickle", "storages", "tensors"):
            archive.add(tmp_path / "pickle", name)
    for path in (*tmp_path.glob("*.p*"), tmp_path / "pickle"):
        for arch in (None, ARCH):
            with pytest.raises(UnsupportedModelError):
                load_source(path, arch=arch)
    assert not mark.exists()


def test_pickled_modules_need_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynet.py").write_text(
        "import pathlib, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, photo, scale=1.0):\n"
        "        return self.conv(photo) * scale\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import mynet

    path = save(tmp_path / "net.pt", mynet.Net())
    shapes = {"photo": (1, 3, 8, 8)}
    with pytest.raises(UnsupportedModelError, match=r"runs code.*torch\.export.*--allow-pickle"):
        load_source(path, input_shapes=shapes)
    source = load_source(path, input_shapes=shapes, allow_pickle=True)
    assert (source.name, source.origin) == ("net", "net.pt")
    assert list(source.example_inputs) == ["photo"]
    assert source.module(torch.ones(1, 3, 8, 8)).shape == (1, 4, 6, 6)
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "mynet")
    with pytest.raises(UnsupportedModelError, match=r"mynet.*PYTHONPATH"):
        load_source(path, input_shapes=shapes, allow_pickle=True)


def test_consent_reaches_exported_programs(tmp_path: Path) -> None:
    program = torch.export.export(nn.ReLU(), (torch.zeros(2, 3),))
    torch.export.save(program, tmp_path / "net.pt2")
    source = load_source(tmp_path / "net.pt2", allow_pickle=True)
    assert source.example_inputs["input"].shape == (2, 3)


def test_truncated_files_are_refused(tmp_path: Path, weights) -> None:
    for old in (False, True):
        path = save(tmp_path / "net.pt", weights, _use_new_zipfile_serialization=not old)
        whole = path.read_bytes()
        for size in (0, 3, 60, len(whole) // 2, len(whole) - 9):
            path.write_bytes(whole[:size])
            with pytest.raises(UnsupportedModelError):
                load_source(path, arch=ARCH)


def test_nan_weights_are_refused_and_infinite_ones_taken(tmp_path: Path, weights) -> None:
    bad = {**weights, "stem.norm.running_mean": weights["stem.norm.running_mean"] * float("nan")}
    with pytest.raises(UnsupportedModelError, match=r"weights stem\.norm\.running_mean hold NaN"):
        load_source(save(tmp_path / "mine.pt", bad), arch=ARCH)
    masked = {**weights, "classifier.bias": torch.full((10,), -float("inf"))}
    load_source(save(tmp_path / "mine.pt", masked), arch=ARCH)
    module = nn.Conv2d(1, 1, 1)
    module.bias.data.fill_(float("nan"))
    with pytest.raises(UnsupportedModelError, match="weights bias hold NaN"):
        load_source(module, input_shapes={"input": (1, 1, 2, 2)})
    program = torch.export.export(module, (torch.zeros(1, 1, 2, 2),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(UnsupportedModelError, match="weights bias hold NaN"):
        load_source(tmp_path / "net.pt2")
