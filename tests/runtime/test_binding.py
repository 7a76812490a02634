"""The Python binding, from outside."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from c_programs import FAILING, inputs, linked, make_artifact, outputs, plan, run, write_folder

from edgeconv.compiler.link import Emit
from edgeconv.errors import ArtifactError, DeviceError, UsageError
from edgeconv.runtime import Model


def check(model: Model, seed: int, scales: int = 1) -> None:
    case = inputs(seed)
    got = model.run(case)
    want = outputs(**case, scales=scales)
    assert list(got) == ["y", "positives"]
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, strict=True)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_run_gives_the_outputs_by_name(host_folder: Path, threads: int) -> None:
    with Model(host_folder, threads=threads) as model:
        assert (model.name, model.target, model.device) == ("net", "host", "")
        assert [(t.name, t.shape, t.dtype) for t in model.inputs] == [
            ("a", (37, 19), "float32"),
            ("b", (37, 19), "float32"),
        ]
        assert model.outputs == plan().outputs
        for seed in range(5):
            check(model, seed)


def test_results_are_not_overwritten_by_the_next_run(host_folder: Path) -> None:
    with Model(host_folder) as model:
        first = model.run(inputs(0))
        model.run(inputs(1))
    np.testing.assert_array_equal(first["y"], outputs(**inputs(0))["y"])


def test_inputs_that_are_not_contiguous(host_folder: Path) -> None:
    case = inputs()
    with Model(host_folder) as model:
        got = model.run({"a": np.asfortranarray(case["a"]), "b": case["b"][::-1][::-1]})
    np.testing.assert_array_equal(got["y"], outputs(**case)["y"])


def test_an_edge_file_is_checked_and_run(
    host_entries: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "net.edge"
    make_artifact(host_entries).save(path)
    with Model(path) as model:
        check(model, 4)

    content = bytearray(path.read_bytes())
    content[content.index(b"ECWEIGHT") + 70] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        Model(path)


def test_a_folders_library_is_the_manifests(host_entries: dict[str, bytes], tmp_path: Path) -> None:
    folder = make_artifact(host_entries).unpack(tmp_path / "unpacked")
    with Model(folder) as model:
        check(model, 4)
    library = folder / "libmodel.so"
    library.write_bytes(library.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match=r"libmodel\.so: its SHA-256 is not that of manifest"):
        Model(folder)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        Model(folder)


def test_profile_has_the_steps_of_the_last_run(host_folder: Path) -> None:
    with Model(host_folder) as model:
        assert [step.ms for step in model.profile()] == [0, 0, 0]
        model.run(inputs())
        steps = model.profile()
    assert [step.name for step in steps] == ["add_0", "scale_1", "relu_2"]
    assert steps[1].family == "elementwise"
    assert steps[1].macs == 703
    assert all(step.ms > 0 for step in steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "'b' is missing"),
        ({"c": np.zeros(1)}, "no input is called c"),
        ({"a": np.zeros((37, 19))}, "float64"),
        ({"a": np.zeros((19, 37), np.float32)}, r"\(19, 37\)"),
        ({"a": np.zeros((37, 19), ">f4")}, "expected float32"),
    ],
    ids=["missing", "unknown", "dtype", "shape", "byte order"],
)
def test_inputs_that_do_not_fit(host_folder: Path, change: dict, message: str) -> None:
    arrays = {k: v for k, v in {**inputs(), **change}.items() if v is not None}
    with Model(host_folder) as model:
        with pytest.raises(UsageError, match=message):
            model.run(arrays)
        check(model, 0)


def test_a_failing_kernel_names_its_step(host_folder: Path) -> None:
    case = inputs()
    case["a"][0, 0] = FAILING
    with Model(host_folder) as model:
        with pytest.raises(DeviceError, match="add_0"):
            model.run(case)
        check(model, 0)


def test_a_closed_model_says_so(host_folder: Path) -> None:
    model = Model(host_folder)
    model.close()
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model.run(inputs())
    with pytest.raises(UsageError, match="closed"):
        model.profile()


def test_one_model_and_two_models_on_several_threads(host_folder: Path, tmp_path: Path) -> None:
    other_folder = write_folder(tmp_path / "other", linked("host", Emit.LIB, scales=2), scales=2)
    failures: list[BaseException] = []

    def work(model: Model, scales: int) -> None:
        try:
            for seed in range(30):
                check(model, seed, scales)
        except BaseException as error:
            failures.append(error)

    with Model(host_folder, threads=2) as one, Model(other_folder, threads=2) as other:
        jobs = [(one, 1), (one, 1), (other, 2)]
        threads = [threading.Thread(target=work, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_paths_and_libraries_that_do_not_fit(host_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        Model(tmp_path / "nowhere.edge")
    with pytest.raises(UsageError, match="threads=0"):
        Model(host_folder, threads=0)
    with pytest.raises(UsageError, match="largest"):
        Model(host_folder, threads=1000)
    (host_folder / "libmodel.so").write_bytes(linked("rasp4", Emit.LIB)["libmodel.so"])
    with pytest.raises(ArtifactError, match="another target"):
        Model(host_folder)
    (host_folder / "libmodel.so").unlink()
    with pytest.raises(UsageError, match="--emit"):
        Model(host_folder)


def test_a_library_that_is_none_of_ours(host_folder: Path) -> None:
    empty = host_folder / "empty.c"
    empty.write_text("int nothing;")
    library = host_folder / "libmodel.so"
    assert run(["gcc", "-shared", "-fPIC", empty, "-o", library]).returncode == 0
    with pytest.raises(ArtifactError, match="does not fit"):
        Model(host_folder)


def test_a_newer_model_in_the_same_folder(host_folder: Path) -> None:
    with Model(host_folder) as model:
        check(model, 0)
    write_folder(host_folder, linked("host", Emit.LIB, scales=2))
    with Model(host_folder) as model:
        check(model, 0, scales=2)


def test_damaged_weights(host_folder: Path) -> None:
    weights = host_folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match="damaged"):
        Model(host_folder)


def test_import_needs_neither_torch_nor_tvm(host_folder: Path) -> None:
    program = (
        "import sys; sys.modules.update(torch=None, tvm=None, onnx=None, ziglang=None)\n"
        "from edgeconv.runtime import Model; Model(sys.argv[1]).close()"
    )
    subprocess.run([sys.executable, "-c", program, str(host_folder)], check=True)
