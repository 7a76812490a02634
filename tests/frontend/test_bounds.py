"""Files that ask for more than they hold, or for more than a machine has."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeconv import zoo
from edgeconv.errors import EdgeconvError, UnsupportedModelError, UsageError
from edgeconv.exporter import export
from edgeconv.frontend import load_source

FLOAT = TensorProto.FLOAT
node = helper.make_node


def model(nodes, *, x=(4,), y=("n",), constants=(), functions=(), domains=(("", 20),)):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", FLOAT, x)],
        [helper.make_tensor_value_info("y", FLOAT, y)],
        list(constants),
    )
    imports = [helper.make_opsetid(*domain) for domain in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=functions)


def save(folder: Path, content: onnx.ModelProto) -> Path:
    (folder / "net.onnx").write_bytes(content.SerializeToString())
    return folder / "net.onnx"


def number(name: str, value) -> TensorProto:
    return numpy_helper.from_array(np.array(value), name)


def function(name: str, nodes):
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("my", 1)]
    return helper.make_function("my", name, ["a"], ["b"], nodes, imports)


def call(name: str, source: str, result: str):
    return node(name, [source], [result], domain="my")


FUNCTION_BOMB = [function("f0", [node("Relu", ["a"], ["b"])])] + [
    function(f"f{i}", [call(f"f{i - 1}", "a", "c"), call(f"f{i - 1}", "c", "b")])
    for i in range(1, 40)
]
MINE = (("", 20), ("my", 1))
LONG = [1 << 33]
TURN = helper.make_graph(
    [node("Identity", ["c"], ["d"]), node("Add", ["v", "v"], ["w"])],
    "turn",
    [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v", FLOAT, [4]),
    ],
    [
        helper.make_tensor_value_info("d", TensorProto.BOOL, []),
        helper.make_tensor_value_info("w", FLOAT, [4]),
    ],
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (model([node("Expand", ["x", "s"], ["y"])], x=(1,), constants=[number("s", LONG)]), "8589"),
        (model([node("Tile", ["x", "s"], ["y"])], x=(1,), constants=[number("s", LONG)]), "8589"),
        (
            model([node("Pad", ["x", "s"], ["y"])], constants=[number("s", [0, 1 << 33])]),
            "the tensor y has the shape 8589934596",
        ),
        (
            model(
                [node("ConstantOfShape", ["s"], ["z"]), node("Add", ["x", "z"], ["y"])],
                x=(1,),
                constants=[number("s", LONG)],
            ),
            "the tensor [yz] has the shape",
        ),
        (
            model(
                [
                    node("Mul", ["s", "s"], ["q"]),
                    node("ConstantOfShape", ["q"], ["z"]),
                    node("Add", ["x", "z"], ["y"]),
                ],
                x=(1,),
                constants=[number("s", [1 << 17])],
            ),
            "the tensor [yz] has the shape",
        ),
        (
            model(
                [node("Loop", ["n", "t", "x"], ["y"], body=TURN)],
                constants=[number("n", 1 << 62), number("t", True)],
            ),
            "compiles no loops",
        ),
        (model([call("f39", "x", "y")], functions=FUNCTION_BOMB, domains=MINE), "more than"),
        (
            model(
                [call("f", "x", "y")],
                functions=[function("f", [call("f", "a", "b")])],
                domains=MINE,
            ),
            "the function f calls itself",
        ),
        (model([node("Relu", ["x"], ["y"])], domains=(("", 20), ("", 12))), "imports 2 versions"),
        (model([node("Frob", ["x"], ["y"], domain="acme")]), "domain 'acme'"),
        (model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])]), "sorted"),
        (model([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "single static"),
        (
            model(
                [node("Add", ["x", "w"], ["y"])],
                constants=[
                    TensorProto(name="w", data_type=FLOAT, dims=[1 << 40], raw_data=b"1234")
                ],
            ),
            "too small for the declared shape",
        ),
    ],
)
def test_what_cannot_fit_or_end_is_refused_before_it_runs(tmp_path, content, message) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as refused:
        load_source(save(tmp_path, content))
    assert "net.onnx" in str(refused.value)


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 20), (1 << 40, 1 << 40)])
def test_huge_inputs_are_refused(tmp_path, shape) -> None:
    path = save(tmp_path, model([node("Relu", ["x"], ["y"])], x=shape, y=shape))
    with pytest.raises(UsageError, match=r"input x has the shape.*up to"):
        load_source(path)


def test_an_attribute_of_no_function_is_refused(tmp_path) -> None:
    content = model([node("Softmax", ["x"], ["y"], axis=0)])
    content.graph.node[0].attribute[0].ref_attr_name = "axis"
    with pytest.raises(UnsupportedModelError, match="axis refers to one of a function"):
        load_source(save(tmp_path, content))


def test_outputs_of_one_name_or_none_are_refused(tmp_path) -> None:
    content = model([node("Relu", ["x"], ["y"])])
    content.graph.output.append(content.graph.output[0])
    with pytest.raises(UnsupportedModelError, match="outputs are y, y"):
        load_source(save(tmp_path, content))
    del content.graph.output[:]
    with pytest.raises(UnsupportedModelError, match="outputs are none"):
        load_source(save(tmp_path, content))


def external(location: str, **more: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def holding(tensor: TensorProto, place: str) -> onnx.ModelProto:
    """A model with the tensor as initializer, in a function, in a branch or as sparse values."""
    add = node("Add", ["x", "w"], ["y"])
    if place == "initializer":
        return model([add], constants=[tensor])
    constant = node("Constant", [], ["w"], value=tensor)
    if place == "function":
        body = [constant, node("Add", ["a", "w"], ["b"])]
        return model([call("f", "x", "y")], functions=[function("f", body)], domains=MINE)
    if place == "branch":
        result = [helper.make_tensor_value_info("w", FLOAT, [4])]
        branch = helper.make_graph([constant], "branch", [], result)
        choice = node("If", ["t"], ["w"], then_branch=branch, else_branch=branch)
        return model([choice, add], constants=[number("t", True)])
    sparse = model([add])
    sparse.graph.sparse_initializer.append(
        helper.make_sparse_tensor(tensor, number("i", np.arange(4)), [4])
    )
    return sparse


@pytest.mark.parametrize("place", ["initializer", "function", "branch", "sparse"])
@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "*/_ORT_MEM_ADDR_/*"])
def test_data_outside_the_folder_is_read_from_no_place(tmp_path, place, location) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsupportedModelError, match=r"outside the model's folder|is missing"):
        load_source(save(folder, holding(external(location, offset=0, length=16), place)))


@pytest.mark.parametrize(
    "tensor",
    [
        external("data", offset="far"),
        external("data", offset=-4),
        external("data", length=1 << 60),
        external("da\0ta"),
        external("d" * 5000),
        external("."),
        external(""),
    ],
)
def test_senseless_external_data_is_refused(tmp_path, tensor) -> None:
    (tmp_path / "data").write_bytes(bytes(16))
    with pytest.raises(UnsupportedModelError, match="the data of w"):
        load_source(save(tmp_path, holding(tensor, "initializer")))


def edited(path: Path, change) -> Path:
    """Rewrite a zip; `change` takes its entries as a list of (name, data) and returns another."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, data in change(entries):
            archive.writestr(name, data)
    return path


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight.sum()


def overstated(pickle: bytes) -> bytes:
    """The pickle of one tensor with its count of elements, and its size, made 2 ** 28."""
    place = pickle.index(b"K\x04", pickle.index(b"cpu"))
    pickle = pickle[:place] + b"J\0\0\0\x10" + pickle[place + 2 :]
    place = pickle.index(b"K\x04", place + 5)
    return pickle[:place] + b"J\0\0\0\x10" + pickle[place + 2 :]


def overstate(entries):
    return [(n, overstated(d) if n.endswith("data.pkl") else d) for n, d in entries]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_storage_larger_than_its_data_is_refused(tmp_path) -> None:
    torch.jit.script(Weighted()).save(tmp_path / "net.ts")
    torch.save({"weight": torch.ones(4)}, tmp_path / "net.pt")
    for name in ("net.ts", "net.pt"):
        path = edited(tmp_path / name, overstate)
        with pytest.raises(UnsupportedModelError, match="has 16 bytes, 1073741824 are needed"):
            load_source(path, input_shapes={"x": (4,)}, arch=None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_missing_storages_are_refused(tmp_path) -> None:
    torch.jit.script(Weighted()).save(tmp_path / "net.ts")
    path = edited(tmp_path / "net.ts", lambda e: [(n, d) for n, d in e if "data/" not in n])
    with pytest.raises(UnsupportedModelError, match="the tensor data '0' is missing"):
        load_source(path, input_shapes={"x": (4,)})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_memo_that_would_take_all_memory_is_refused(tmp_path) -> None:
    torch.jit.script(Weighted()).save(tmp_path / "net.ts")
    path = edited(
        tmp_path / "net.ts",
        lambda entries: [
            (n, b"\x80\x02}r\xff\xff\xff\x7f." if n.endswith("data.pkl") else d) for n, d in entries
        ],
    )
    with pytest.raises(UnsupportedModelError, match="LONG_BINPUT"):
        load_source(path, input_shapes={"x": (4,)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: [*entries, ("archive/bomb", bytes(1 << 29))], "expand to far more"),
        (lambda entries: [*entries, ("other/data.pkl", b"")], "'data.pkl' twice"),
        (lambda entries: [*entries, entries[0]], "twice"),
    ],
)
def test_zip_bombs_and_ambiguous_zips_are_refused(tmp_path, change, message) -> None:
    torch.save({"weight": torch.ones(4)}, tmp_path / "net.pt")
    with pytest.raises(UnsupportedModelError, match=message):
        load_source(edited(tmp_path / "net.pt", change))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.to("meta"),
        lambda w: w.to_sparse(),
        lambda w: w.to_sparse_csr(),
        lambda w: w.to(torch.complex64),
        lambda w: w.to(torch.int8),
        lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
        lambda w: torch.nested.nested_tensor([w, w]),
    ],
)
def test_weights_of_another_kind_are_named(tmp_path, change) -> None:
    weights = zoo.load("resnet18", "tiny").state_dict()
    weights["classifier.weight"] = change(weights["classifier.weight"])
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(UnsupportedModelError, match=r"1 of another kind: classifier\.weight"):
        load_source(tmp_path / "net.pt", arch="resnet18/tiny")


def test_expressions_that_take_for_ever_are_refused() -> None:
    from edgeconv.frontend.pt2_check import _check_string

    _check_string("Pow(Symbol('s77', positive=True, integer=True), Integer(2))", "expr_str", "net")
    for text in ("9**9**9", "Pow(Integer(9), Pow(Integer(9), Integer(9)))", "Pow(x, Integer(99))"):
        with pytest.raises(EdgeconvError):
            _check_string(text, "expr_str", "net")


def test_infinite_weights_are_named_by_what_they_do(tmp_path) -> None:
    content = model([node("Add", ["x", "w"], ["y"])], constants=[number("w", np.float32([np.inf]))])
    with pytest.raises(EdgeconvError, match=r"net\.onnx: output y of the original is not finite"):
        export(load_source(save(tmp_path, content)))


def test_a_file_that_cannot_be_read_says_why(tmp_path, monkeypatch) -> None:
    path = save(tmp_path, model([node("Relu", ["x"], ["y"])]))

    def refuse(self, *_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        UnsupportedModelError, match=r"net\.onnx: cannot be read: Permission denied"
    ):
        load_source(path)
