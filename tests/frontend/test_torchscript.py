import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from payload import Bomb
from torch import nn

from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.exporter import export
from edgeconv.frontend import load_source
from edgeconv.nn import SelectiveKernel

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

SHAPE = {"input": (2, 3, 8, 8)}


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._convs = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)])
        self.scale = torch.full((3, 1, 1), 2.0)

    def forward(self, left, right, times: int = 2):
        for conv in self._convs:
            left = conv(left) * self.scale
        for _ in range(times):
            left = left + right
        if left.shape[0] > 1:
            left = nn.functional.pad(left, [1, 0, 2, 1])
        return {"sum": left, "mean": left.mean([2, 3])}


def rewrite(path: Path, change: dict[str, bytes]) -> Path:
    """Replace or add members, given without the archive's folder."""
    with zipfile.ZipFile(path) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, **change}.items():
            archive.writestr(f"archive/{name}", data)
    return path


@pytest.mark.parametrize("way", ["traced", "scripted", "frozen"])
def test_modules_export_and_compute_what_they_did(tmp_path: Path, way: str) -> None:
    module = small()
    if way == "traced":
        script = torch.jit.trace(module, torch.zeros(1, 3, 8, 8))
    else:
        script = torch.jit.script(module)
    if way == "frozen":
        script = torch.jit.freeze(script)
    script.save(tmp_path / "net.pt")
    source = load_source(tmp_path / "net.pt", input_shapes=SHAPE)
    assert (source.name, source.origin) == ("net", "net.pt")
    exported = export(source)
    assert [node.op_type for node in exported.model.graph.node] == ["Conv", "Relu"]
    case = exported.golden[0]
    with torch.no_grad():
        want = module(torch.from_numpy(case.inputs["input"])).numpy()
    np.testing.assert_allclose(case.outputs["output"], want, rtol=1e-5, atol=1e-6)


def test_nodes_are_named_after_layers(tmp_path: Path) -> None:
    torch.jit.script(Pair().eval()).save(tmp_path / "pair.ts")
    shapes = {"left": (2, 3, 6, 6), "right": (1,)}
    exported = export(load_source(tmp_path / "pair.ts", input_shapes=shapes))
    names = [node.name for node in exported.model.graph.node if node.op_type == "Conv"]
    assert names == ["_convs.0.Conv", "_convs.1.Conv"]


def test_loops_defaults_dicts_and_several_inputs(tmp_path: Path) -> None:
    module = Pair().eval()
    torch.jit.script(module).save(tmp_path / "pair.ts")
    shapes = {"left": (2, 3, 6, 6), "right": (1,)}
    exported = export(load_source(tmp_path / "pair.ts", input_shapes=shapes))
    assert [value.name for value in exported.model.graph.input] == ["left", "right"]
    case = exported.golden[1]
    with torch.no_grad():
        want = module(*map(torch.from_numpy, case.inputs.values()))
    for name, tensor in want.items():
        np.testing.assert_allclose(case.outputs[name], tensor.numpy(), rtol=1e-5, atol=1e-6)


class SumOf(nn.Module):
    """Traced, both inputs are called after the parameter of the layer that takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = small(), small()

    def forward(self, *images):
        return self.first(images[0]) + self.second(images[1])


def test_a_traced_module_in_memory_keeps_inputs_of_one_name_apart() -> None:
    images = torch.randn(2, 2, 3, 8, 8).unbind()
    traced = torch.jit.trace(SumOf().eval(), images)
    source = load_source(traced, example_inputs=list(images))
    assert len(source.example_inputs) == 2
    case = export(source).golden[0]
    with torch.no_grad():
        want = traced(*(torch.from_numpy(array) for array in case.inputs.values()))
    np.testing.assert_array_equal(case.outputs["output"], want.numpy())


def test_a_traced_selective_kernel_stays_one_operator() -> None:
    image = torch.randn(1, 8, 6, 6)
    traced = torch.jit.trace(SelectiveKernel(8, 8, groups=2).eval(), image)
    nodes = export(load_source(traced, example_inputs=[image])).model.graph.node
    assert [node.op_type for node in nodes].count("SelectiveKernel") == 1


def test_shapes_must_be_given(tmp_path: Path) -> None:
    torch.jit.script(small()).save(tmp_path / "net.pt")
    with pytest.raises(UsageError, match=r"open shapes: input=.*--input-shape"):
        load_source(tmp_path / "net.pt")


def test_inputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    class Times(nn.Module):
        def forward(self, x, times: int):
            return x * times

    torch.jit.script(Times()).save(tmp_path / "net.pt")
    with pytest.raises(UnsupportedModelError, match="forward takes times, a int"):
        load_source(tmp_path / "net.pt", input_shapes={"x": (1,)})


def test_without_forward_it_is_refused(tmp_path: Path) -> None:
    class Other(nn.Module):
        @torch.jit.export
        def work(self, x):
            return x

    torch.jit.script(Other()).save(tmp_path / "net.pt")
    with pytest.raises(UnsupportedModelError, match="cannot be read"):
        load_source(tmp_path / "net.pt")


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
def test_a_pickled_payload_does_not_run(tmp_path: Path, member: str) -> None:
    mark = tmp_path / "ran"
    torch.jit.script(small()).save(tmp_path / "net.pt")
    for protocol in (2, 4):
        payload = pickle.dumps(Bomb(mark), protocol)
        with pytest.raises(UnsupportedModelError, match="could run code"):
            load_source(rewrite(tmp_path / "net.pt", {member: payload}), input_shapes=SHAPE)
    assert not mark.exists()


def test_the_loader_reads_the_checked_archive_only(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.jit.script(small()).save(tmp_path / "net.pt")
    extra = {
        "traced_inputs.pkl": pickle.dumps(Bomb(mark)),
        "extra/hook.py": b"open('x', 'w')",
        "bytecode.pkl": pickle.dumps(Bomb(mark)),
        "code/__torch__.py.debug_pkl": pickle.dumps(Bomb(mark)),
    }
    load_source(rewrite(tmp_path / "net.pt", extra), input_shapes=SHAPE)
    assert not mark.exists()


FORWARD = """class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.Net, input: Tensor) -> Tensor:
{body}
    return input
"""


@pytest.mark.parametrize(
    "line",
    [
        'torch.save(input, "{mark}")',
        'input.save("{mark}")',
        '_0 = torch.from_file("{mark}", True, 10)',
        '_0 = getattr(input, "save")("{mark}")',
        'f = getattr\n    _0 = f(input, "save")("{mark}")',
        '_0 = getattr(ops, "aten").relu(input)',
        '_0 = getattr(input, "sa" + "ve")("{mark}")',
        '_0 = ops.aten.from_file("{mark}", True, 10)',
        '_0 = ops.aten.save(input, "{mark}")',
        '_0 = ops.c10d.barrier(input, "{mark}")',
        '_0 = torch\\\n  .save(input, "{mark}")',
        '_0 = (torch).save(input, "{mark}")',
        'f = torch\n    f.save(input, "{mark}")',
        'f = ops.aten\n    _0 = f.from_file("{mark}", True, 10)',
        "_0 = __torch__.torch.classes.profiler._RecordFunction()",
        "_0 = ops.prim.rpc_sync(input)",
        "_0 = torch._nested_view_from_buffer(input, input, input, input)",
        "_0 = input._sobol_engine_ff_(2, input, 3, 4)",
    ],
)
def test_code_that_does_more_than_compute_is_refused(tmp_path: Path, line: str) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "net.pt"

    class Net(nn.Module):
        def forward(self, input):
            return input

    torch.jit.script(Net()).save(path)
    body = "    " + line.format(mark=mark)
    change = {"code/__torch__.py": FORWARD.format(body=body).encode()}
    with pytest.raises(UnsupportedModelError, match="could run code"):
        export(load_source(rewrite(path, change), input_shapes={"input": (2,)}))
    assert not mark.exists()


def test_code_that_runs_while_loading_is_checked(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.jit.script(small()).save(tmp_path / "net.pt")
    method = (
        "class Net(Module):\n"
        "  def __setstate__(self: __torch__.Net, state: Tensor) -> NoneType:\n"
        f'    torch.save(state, "{mark}")\n'
    )
    change = {"code/__torch__.py": method.encode()}
    with pytest.raises(UnsupportedModelError, match=r"torch\.save could run code"):
        load_source(rewrite(tmp_path / "net.pt", change), input_shapes=SHAPE)
    assert not mark.exists()


def test_ordinary_layers_pass_the_check(tmp_path: Path) -> None:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._conv = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
            self.norm = nn.InstanceNorm2d(8, affine=True)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.gate = nn.Sequential(nn.PReLU(), nn.GELU(), nn.Hardswish(), nn.SiLU())
            self.pool = nn.AdaptiveAvgPool2d(2)

        def forward(self, x):
            x = self.gate(self.norm(self._conv(x)))
            x = nn.functional.interpolate(x, scale_factor=[2.0, 2.0], mode="bicubic")
            tokens = x.flatten(2).transpose(1, 2)
            tokens = self.attention(tokens, tokens, tokens)[0]
            x = x.clone()
            x[:, 0] = 1.0
            pooled = self.pool(x)
            left, right = nn.functional.pixel_shuffle(pooled, 2).chunk(2, 1)
            assert left.shape == right.shape, "halves"
            return torch.cat([left, right], 1), nn.functional.log_softmax(tokens, -1)

    module = Layers().eval()
    x = torch.randn(1, 3, 6, 6)
    for script in (torch.jit.script(module), torch.jit.trace(module, x, check_trace=False)):
        script.save(tmp_path / "net.pt")
        source = load_source(tmp_path / "net.pt", example_inputs=x)
        with torch.no_grad():
            for got, want in zip(source.module(x), module(x), strict=True):
                torch.testing.assert_close(got, want)


def test_the_payload_of_these_tests_works_with_consent(tmp_path: Path) -> None:
    # Otherwise the tests above would prove nothing.
    class Saves(nn.Module):
        def __init__(self, mark: str) -> None:
            super().__init__()
            self.mark = mark

        def forward(self, x):
            torch.save(x, self.mark)
            return x

    mark = tmp_path / "ran"
    torch.jit.script(Saves(str(mark))).save(tmp_path / "net.pt")
    with pytest.raises(UnsupportedModelError, match=r"torch\.save could run code.*allow-pickle"):
        load_source(tmp_path / "net.pt", input_shapes={"x": (1,)})
    source = load_source(tmp_path / "net.pt", input_shapes={"x": (1,)}, allow_pickle=True)
    assert not mark.exists()
    source.module(torch.ones(1))
    assert mark.exists()


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.script(small()).save(path)
    whole = path.read_bytes()
    for change in (
        {"data.pkl": b"\x80\x02"},
        {"code/__torch__.py": b"def ("},
        {"code/__torch__.py": b"\xff\xfe"},
        {"version": b"999999\n"},
    ):
        path.write_bytes(whole)
        with pytest.raises(UnsupportedModelError, match=r"damaged|cannot be (read|checked)"):
            load_source(rewrite(path, change), input_shapes=SHAPE)
    for size in (0, 100, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(UnsupportedModelError, match=r"empty|cut off"):
            load_source(path, input_shapes=SHAPE)


def test_weights_that_are_nan_are_refused(tmp_path: Path) -> None:
    module = small()
    module[0].weight.data[0, 0, 0, 0] = float("nan")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    (tmp_path / "net.pt").write_bytes(buffer.getvalue())
    with pytest.raises(UnsupportedModelError, match=r"weights 0\.weight hold NaN"):
        load_source(tmp_path / "net.pt", input_shapes=SHAPE)
