import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from payload import Bomb
from torch import nn

from edgeconv import zoo
from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.frontend import load_source


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


def save_program(path: Path, module: nn.Module | None = None, **options: object) -> Path:
    program = torch.export.export(module or small(), (torch.zeros(2, 3, 8, 8),), **options)
    torch.export.save(program, path)
    return path


def save_onnx(path: Path, shape: list[int | str], external: str | None = None) -> Path:
    weight = onnx.numpy_helper.from_array(np.float32([2]), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"], name="double")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if external is not None:
        stored = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(stored, external, 0, 4)
        stored.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return path


def rewrite(path: Path, change: dict[str, bytes]) -> Path:
    """Replace or add members of a .pt2."""
    with zipfile.ZipFile(path) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, **change}.items():
            archive.writestr(f"x/{name}", data)
    return path


def program_json(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("models/model.json"))
        return json.loads(archive.read(name))


def test_zoo_names() -> None:
    source = load_source("zoo:resnet18/tiny")
    assert source.name == "resnet18_tiny"
    assert source.origin == "zoo:resnet18/tiny"
    assert {k: v.shape for k, v in source.example_inputs.items()} == {"image": (1, 3, 32, 32)}
    assert source.preprocessing is not None
    wide = load_source("zoo:resnet18/tiny", input_shapes={"image": (2, 3, 40, 48)})
    assert wide.example_inputs["image"].shape == (2, 3, 40, 48)


def test_example_inputs_are_seeded() -> None:
    first, second, other = (load_source("zoo:resnet18/tiny", seed=seed) for seed in (5, 5, 6))
    x = first.example_inputs["image"]
    assert np.array_equal(x, second.example_inputs["image"])
    assert not np.array_equal(x, other.example_inputs["image"])


def test_checkpoints_carry_their_own_weights(tmp_path: Path) -> None:
    module = zoo.load("mobilenet_v2", "tiny")
    with torch.no_grad():
        module.classifier.bias.fill_(7)
    zoo.save_checkpoint(tmp_path / "mine.pt", "mobilenet_v2", "tiny", module)
    source = load_source(tmp_path / "mine.pt")
    assert source.origin == "mine.pt"
    assert torch.equal(source.module.state_dict()["classifier.bias"], torch.full((10,), 7.0))


def test_exported_programs_compute_what_they_did(tmp_path: Path) -> None:
    module = small()
    source = load_source(save_program(tmp_path / "net.pt2", module))
    (x,) = source.example_inputs.values()
    assert x.shape == (2, 3, 8, 8)
    with torch.no_grad():
        got, want = (m(torch.from_numpy(x)) for m in (source.module.module(), module))
    assert torch.equal(got, want)


def test_exported_programs_with_open_sizes_take_a_shape(tmp_path: Path) -> None:
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=4)}
    path = save_program(tmp_path / "net.pt2", dynamic_shapes=(sizes,))
    assert load_source(path).example_inputs["input"].shape == (2, 3, 8, 8)
    source = load_source(path, input_shapes={"input": (5, 3, 12, 8)})
    assert source.example_inputs["input"].shape == (5, 3, 12, 8)
    with pytest.raises(UsageError, match=r"input=\(\?,3,\?,8\) cannot have"):
        load_source(path, input_shapes={"input": (5, 3, 12, 9)})


class Hyphens(nn.Module):
    """As torchvision's RegNet names its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({"block1-0": nn.Conv2d(3, 4, 3)})

    def forward(self, x):
        return self.blocks["block1-0"](x)


class Standardised(nn.Module):
    """As timm's ScaledStdConv2d standardises weights: by a normalisation without statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        rows = self.conv.weight.reshape(1, 4, -1)
        rows = nn.functional.batch_norm(rows, None, None, training=True, momentum=0.0)
        return nn.functional.conv2d(x, rows.reshape_as(self.conv.weight), self.conv.bias)


@pytest.mark.parametrize("network", [Hyphens, Standardised])
def test_exported_programs_of_known_libraries_are_taken(
    tmp_path: Path, network: type[nn.Module]
) -> None:
    module = network().eval()
    source = load_source(save_program(tmp_path / "net.pt2", module))
    (x,) = source.example_inputs.values()
    with torch.no_grad():
        got, want = (m(torch.from_numpy(x)) for m in (source.module.module(), module))
    assert torch.equal(got, want)


class Cast(nn.Module):
    def forward(self, pixels, mask):
        # Each `to` and `float` leaves a check of dtypes, without a value, in the program.
        return (pixels.float() - 0.5) * mask.to(torch.float32)


def test_exported_programs_keep_their_types(tmp_path: Path) -> None:
    inputs = (torch.zeros(2, 3, dtype=torch.uint8), torch.ones(2, 3, dtype=torch.bool))
    torch.export.save(torch.export.export(Cast(), inputs), tmp_path / "net.pt2")
    examples = load_source(tmp_path / "net.pt2").example_inputs
    assert {name: x.dtype for name, x in examples.items()} == {"pixels": np.uint8, "mask": bool}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64])
def test_types_that_numpy_or_the_compiler_lacks_are_refused(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    inputs = (torch.ones(2, 3, dtype=dtype),)
    torch.export.save(torch.export.export(nn.Identity(), inputs), tmp_path / "net.pt2")
    for model, examples in ((tmp_path / "net.pt2", None), (nn.Identity(), inputs)):
        with pytest.raises(UnsupportedModelError, match=f"input input is {dtype}; edgeconv takes"):
            load_source(model, example_inputs=examples)


def test_modules_take_names_from_forward() -> None:
    class TwoInputs(nn.Module):
        def forward(self, left, right, scale=1.0):
            return (left + right) * scale

    source = load_source(TwoInputs(), input_shapes={"left": (1, 2), "right": (1, 2)})
    assert source.name == "two_inputs"
    assert list(source.example_inputs) == ["left", "right"]
    given = load_source(TwoInputs(), example_inputs=(torch.ones(2), np.zeros(2, np.float32)))
    assert given.example_inputs["left"].tolist() == [1, 1]
    with pytest.raises(UsageError, match=r"open shapes: left=.*right="):
        load_source(TwoInputs())
    with pytest.raises(UsageError, match="no input is called wrong; the inputs are left, right"):
        load_source(TwoInputs(), input_shapes={"wrong": (1,)})
    with pytest.raises(UsageError, match="1 examples for 2 inputs"):
        load_source(TwoInputs(), example_inputs=torch.ones(2))


def test_onnx_shapes_are_fixed(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", ["batch", 3])
    with pytest.raises(UsageError, match=r"open shapes: x=\(\?,3\)"):
        load_source(path)
    with pytest.raises(UsageError, match=r"cannot have the shape \(2, 4\)"):
        load_source(path, input_shapes={"x": (2, 4)})
    with pytest.raises(UsageError, match=r"cannot have the shape \(0, 3\)"):
        load_source(path, input_shapes={"x": (0, 3)})
    source = load_source(path, input_shapes={"x": (2, 3)})
    sizes = source.onnx.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in sizes] == [2, 3]


def test_onnx_external_data_is_read_inside_the_folder_only(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    data = np.float32([2]).tobytes()
    (tmp_path / "net" / "w.bin").write_bytes(data)
    (tmp_path / "secret.bin").write_bytes(data)
    (tmp_path / "net" / "link.bin").symlink_to(tmp_path / "secret.bin")
    source = load_source(save_onnx(tmp_path / "net/a.onnx", [3], external="w.bin"))
    assert onnx.numpy_helper.to_array(source.onnx.graph.initializer[0]).tolist() == [2]
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin"):
        path = save_onnx(tmp_path / "net/b.onnx", [3], external=location)
        with pytest.raises(UnsupportedModelError, match="outside the model's folder"):
            load_source(path)
    with pytest.raises(UnsupportedModelError, match=r"is missing: copy gone\.bin"):
        load_source(save_onnx(tmp_path / "net/c.onnx", [3], external="gone.bin"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pt2", b"", "empty"),
        ("cut.pt2", b"PK\x03\x04abc", "cut off or damaged"),
        ("net.tflite", b"\x20\0\0\0TFL3" + b"\0" * 20, "TensorFlow Lite"),
        ("net.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("net.safetensors", b'\x08\0\0\0\0\0\0\0{"a": 1}', "safetensors"),
        ("notes.txt", b"hello", "no model file that edgeconv knows"),
        ("text.onnx", b"hello, this is text", "not an ONNX file|holds no graph"),
        ("empty_graph.onnx", onnx.ModelProto(ir_version=10).SerializeToString(), "no graph"),
        ("old.pt", b"\x80\x02garbage", "cannot be read|pickle"),
    ],
)
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=message):
        load_source(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="no such file"):
        load_source(tmp_path / "missing.onnx")
    with pytest.raises(UnsupportedModelError, match="not a file"):
        load_source(tmp_path)


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    weights = zoo.load("resnet18", "tiny").state_dict()
    good = {"edgeconv": 1, "model": "resnet18", "variant": "tiny", "state_dict": weights}
    for content, message in [
        (weights, "weights only"),
        ({**good, "edgeconv": 2}, "version 2"),
        ({**good, "state_dict": 3}, "without its model"),
        ({**good, "model": "mobilenet_v2"}, "do not fit"),
    ]:
        torch.save(content, path)
        with pytest.raises(UnsupportedModelError, match=message):
            load_source(path)


def test_training_mode_programs_are_refused(tmp_path: Path) -> None:
    path = save_program(tmp_path / "net.pt2", small().train())
    with pytest.raises(UnsupportedModelError, match="training mode"):
        load_source(path)


def test_programs_that_could_run_code_are_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(mark))
    torch.save(((Bomb(mark),), {}), tmp_path / "inputs.pt")
    path = tmp_path / "net.pt2"

    def edited(edit) -> bytes:
        program = program_json(path)
        edit(program)
        return json.dumps(program).encode()

    save_program(path)
    touch = f"__import__('pathlib').Path('{mark}').touch()"

    def graph(program):
        return program["graph_module"]["graph"]

    def call(program):
        return program["graph_module"]["module_call_graph"][0]

    attacks = {
        "sample inputs": {"data/sample_inputs/model.pt": (tmp_path / "inputs.pt").read_bytes()},
        "opaque object": {"data/constants/opaque_obj_0": bomb},
        "old weights": {"data/weights/model.pt": bomb},
        "compiled code": {"data/aotinductor/model/x.so": b"\x7fELF"},
        "pickled weight": {
            "data/weights/model_weights_config.json": json.dumps(
                {"config": {"w": {"path_name": "weight_0", "use_pickle": True}}}
            ).encode()
        },
        "target": {
            "models/model.json": edited(
                lambda p: graph(p)["nodes"][0].update(target="torch.ops.load_library")
            )
        },
        **{
            f"operator {operator}": {
                "models/model.json": edited(
                    lambda p, name=operator: graph(p)["nodes"][0].update(target=name)
                )
            }
            for operator in (
                "torch.ops.aten.from_file.default",
                "torch.ops.aten.save.default",
                "torch.ops.aten._sobol_engine_ff_.default",
                "torch.ops.c10d.barrier.default",
            )
        },
        "expression": {"models/model.json": edited(lambda p: p.update(extra={"expr_str": touch}))},
        "builtin": {
            "models/model.json": edited(lambda p: p.update(extra={"expr_str": "exec(chr(1))"}))
        },
        "name": {
            "models/model.json": edited(
                lambda p: call(p)["signature"].update(forward_arg_names=[f"x=({touch})"])
            )
        },
        "tree": {
            "models/model.json": edited(
                lambda p: call(p)["signature"].update(
                    in_spec='[1, {"type": "collections.defaultdict", "context": "[]"}]'
                )
            )
        },
    }
    for attack, change in attacks.items():
        rewrite(save_program(path), change)
        with pytest.raises(UnsupportedModelError, match="could run code"):
            load_source(path)
        assert not mark.exists(), attack


def test_damaged_programs_are_refused(tmp_path: Path) -> None:
    path = rewrite(save_program(tmp_path / "net.pt2"), {"models/model.json": b"{}"})
    with pytest.raises(UnsupportedModelError, match="cannot be read"):
        load_source(path)
