"""compile, export and inspect on models, and their artifacts run by the other commands."""

import numpy as np
import onnx
import pytest
from samples import make_artifact
from typer.testing import CliRunner

from edgeconv.artifact import Artifact
from edgeconv.cli.app import app
from edgeconv.traffic import TRAFFIC

TINY = "zoo:efficientnet_lite0/tiny"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The tiny network for this machine, with the library beside it, and what was printed."""
    path = tmp_path_factory.mktemp("compiled") / "tiny.edge"
    result = CliRunner().invoke(app, ["compile", TINY, "--target", "host", "-o", str(path)])
    assert result.exit_code == 0, result.output
    return path, result.stdout


def planted(monkeypatch, artifact):
    monkeypatch.setattr("edgeconv.api.compile", lambda model, **options: artifact)


def test_compile_shows_sizes_and_the_verification(compiled):
    _, text = compiled
    for word in ("efficientnet_lite0_tiny for host", "arena", "lower bound", "seed 1", "passed"):
        assert word in text


def test_compiled_artifact_verifies_layer_by_layer(cli_json, compiled):
    report = cli_json("verify", compiled[0], "--per-layer")
    assert report["passed"] is True
    assert len(report["steps"]) > 5


def test_compiled_artifact_benches_against_onnxruntime(cli_json, compiled):
    report = cli_json("bench", compiled[0], "--against", "onnxruntime")
    assert report["median_ms"] > 0
    assert report["against"]["median_ms"] > 0


def test_compiled_artifact_classifies_photographs(cli, cli_json, compiled, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / name)
    found = cli_json("run", compiled[0], "--image", "a.png", "b.png", "--top", "3")
    assert [entry["image"] for entry in found["images"]] == ["a.png", "b.png"]
    for entry in found["images"]:
        chances = [guess["probability"] for guess in entry["top"]]
        assert len(chances) == 3
        assert chances == sorted(chances, reverse=True)
    assert "a.png" in cli("run", compiled[0], "--image", "a.png").stdout
    assert "c.png" in cli("run", compiled[0], "--image", "c.png", code=2).stderr


def test_default_name_and_json(cli_json, tmp_path):
    summary = cli_json("compile", TINY, "--target", "host", "--no-verify")
    assert summary["file"] == "efficientnet_lite0_tiny-host.edge"
    assert summary["verified"] is None
    artifact = Artifact.load(tmp_path / summary["file"])
    assert summary["bytes"] == (tmp_path / summary["file"]).stat().st_size
    assert summary["memory"]["arena_bytes"] == artifact.plan.arena_bytes


def test_rasp4_runs_under_the_emulator(cli_json):
    summary = cli_json("compile", TINY, "--target", "rasp4")
    assert summary["verified"] is True
    assert summary["verification"]["emulated"] is True


def test_a_library_is_unpacked_beside_and_said_to_be_unverified(cli, tmp_path):
    result = cli("compile", TINY, "--target", "host", "--emit", "static", "-o", "net.edge")
    assert (tmp_path / "net" / "libmodel.a").is_file()
    assert (tmp_path / "net" / "edgeconv.h").is_file()
    assert "NOT verified" in result.stderr


def test_wrong_outputs_leave_no_artifact(cli, cli_json, tmp_path, monkeypatch):
    planted(monkeypatch, make_artifact(fault="wrong"))
    result = cli("compile", TINY, "--target", "host", "-o", "net.edge", code=4)
    assert "FAILED" in result.stdout
    assert cli_json("compile", TINY, "--target", "host", "-o", "net.edge", code=4)["file"] is None
    assert list(tmp_path.glob("*.edge")) == []


def test_a_program_that_dies_leaves_no_artifact(cli, tmp_path, monkeypatch):
    planted(monkeypatch, make_artifact(fault="illegal"))
    cli("compile", TINY, "--target", "host", "-o", "net.edge", code=5)
    assert list(tmp_path.glob("*.edge")) == []


def test_without_an_emulator_the_artifact_is_kept_with_a_warning(cli, cli_json, monkeypatch):
    planted(monkeypatch, make_artifact(target="rasp4"))
    monkeypatch.setattr("shutil.which", lambda program: None)
    arguments = ("compile", TINY, "--target", "rasp4", "-o", "net.edge")
    warning = cli(*arguments, "--quiet").stderr
    assert "net.edge was NOT verified" in warning
    assert "apt-get install qemu-user" in warning
    assert cli_json(*arguments)["verified"] is None
    cli(*arguments, "--verify", code=5)
    assert Artifact.load("net.edge").manifest.target.name == "rasp4"


def test_dump_writes_every_stage(cli, tmp_path):
    cli("compile", TINY, "--target", "host", "--no-verify", "--dump", "stages")
    assert len(list((tmp_path / "stages").rglob("*"))) > 5


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [TINY],
        ["--target", "host"],
        ["zoo:nothing", "--target", "host"],
        [TINY, "--target", "rasp9"],
        [TINY, "--target", "./no-such-board.toml"],
        [TINY, "--target", "host", "-o", "net.bin"],
        [TINY, "--target", "host", "--emit", "wheel"],
        [TINY, "--target", "host", "--threads", "0"],
        [TINY, "--target", "host", "--input-shape", "image=1,3"],
        [TINY, "--target", "host", "--input-shape", "nonsense"],
        [TINY, "--target", "host", "--input-shape", "other=1,3,33,33"],
    ],
)
def test_wrong_arguments_exit_2(cli, arguments):
    cli("compile", *arguments, code=2)


def test_a_model_file_that_is_not_there_is_named(cli):
    assert "nowhere.onnx" in cli("compile", "nowhere.onnx", "--target", "host", code=3).stderr


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2", "net.pt", "net.txt"])
def test_a_file_that_is_no_model_exits_3(cli, tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no network at all")
    cli("compile", name, "--target", "host", code=3)


def test_export_writes_checked_onnx(cli, cli_json, tmp_path):
    summary = cli_json("export", TINY)
    assert summary["file"] == "efficientnet_lite0_tiny.onnx"
    model = onnx.load(tmp_path / summary["file"])
    onnx.checker.check_model(model, full_check=True)
    assert summary["nodes"] == len(model.graph.node)
    assert "ONNX Runtime agrees" in cli("export", TINY, "-o", "net.onnx").stdout
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / summary["file"]).read_bytes()


def test_inspect_lists_the_layers_and_what_the_target_supports(cli, cli_json):
    found = cli_json("inspect", TINY, "--target", "rasp4")
    assert found["supported"] is True
    assert found["totals"]["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert {"depthwise", "pointwise", "dense"} <= {layer["family"] for layer in found["layers"]}
    assert "Every layer is supported on rasp4." in cli("inspect", TINY, "--target", "rasp4").stdout


def test_inspect_names_what_is_not_supported(cli, cli_json, tmp_path):
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["y"], name="determinant")],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "det.onnx")
    found = cli_json("inspect", "det.onnx", "--target", "rasp4")
    assert found["supported"] is False
    assert found["layers"][0]["unsupported"]
    assert "determinant" in cli("compile", "det.onnx", "--target", "rasp4", code=3).stderr


@pytest.fixture
def weights_file(tmp_path):
    """Bare weights of the tiny network, in the folder that the command line runs in."""
    import torch

    from edgeconv import zoo

    torch.save(zoo.load("efficientnet_lite0", "tiny").state_dict(), tmp_path / "mine.pt")
    return "mine.pt"


def test_bare_weights_compile_with_arch(cli, cli_json, weights_file):
    arch = ("--arch", "efficientnet_lite0/tiny")
    summary = cli_json("compile", weights_file, "--target", "host", *arch)
    assert summary["verified"] is True
    assert cli_json("export", weights_file, *arch)["origin"] == "mine.pt"
    assert cli_json("inspect", weights_file, *arch)["totals"]["macs"] > 0
    told = cli("compile", weights_file, "--target", "host", code=3).stderr
    assert "--arch efficientnet_lite0/tiny" in told
    cli("compile", TINY, "--target", "host", *arch, code=2)
    cli("export", weights_file, "--arch", "nothing", code=2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_compiles_with_shapes(cli, cli_json, tmp_path):
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    torch.jit.script(module).save(tmp_path / "net.ts")
    shape = ("--input-shape", "input=1,3,9,9")
    assert cli_json("compile", "net.ts", "--target", "host", *shape)["verified"] is True
    assert cli_json("inspect", "net.ts", *shape)["totals"]["layers"] == 2
    assert "--input-shape" in cli("compile", "net.ts", "--target", "host", code=2).stderr


def test_a_pickle_is_loaded_with_consent_only_and_said_to_run_code(cli, tmp_path):
    import torch
    from payload import Bomb

    torch.save(torch.nn.Conv2d(3, 8, 3).eval(), tmp_path / "net.pt")
    torch.save(Bomb(tmp_path / "ran"), tmp_path / "bomb.pt")
    shape = ("--input-shape", "input=1,3,9,9")
    for command in (("compile", "--target", "host"), ("export",), ("inspect",)):
        refused = cli(*command, "net.pt", *shape, code=3).stderr
        assert "--allow-pickle" in refused
        told = cli(*command, "net.pt", *shape, "--allow-pickle", "--quiet").stderr
        assert "code that is stored in net.pt runs" in told
        cli(*command, "bomb.pt", code=3)
        assert not (tmp_path / "ran").exists()
    # Consent is what makes the difference: the same file then does run.
    cli("inspect", "bomb.pt", "--allow-pickle", code=3)
    assert (tmp_path / "ran").exists()


def test_options_for_models_do_not_go_with_artifacts(cli):
    assert "are for models" in cli("inspect", "net.edge", "--allow-pickle", code=2).stderr


def test_the_traffic_of_winograd_is_a_factor(cli, monkeypatch):
    seen = []

    def compile_to(model, **options):
        seen.append(options["traffic"])
        return make_artifact()

    monkeypatch.setattr("edgeconv.api.compile", compile_to)
    for given in ((), ("--traffic", "inf"), ("--traffic", "2")):
        cli("compile", TINY, "--target", "host", "-o", "net.edge", "--no-verify", *given)
    assert seen == [TRAFFIC, float("inf"), 2]
    cli("compile", TINY, "--target", "host", "-o", "net.edge", "--traffic", "0.9", code=2)
