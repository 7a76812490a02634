"""Programs with OpenCL steps on a real driver (PoCL), from outside."""

import json
import os
import threading
from collections.abc import Collection
from pathlib import Path

import c_programs
import numpy as np
import pytest
from c_programs import KERNELS, SANITIZED, gcc, inputs, outputs, run, write_folder
from opencl_programs import ALL, SOURCE, linked, oclgrind, plan, runtime_sources, write_program

from edgeconv.compiler.link import Emit
from edgeconv.compiler.link.runtime_objects import RUNTIME
from edgeconv.errors import DeviceError
from edgeconv.runtime import Model


@pytest.fixture(autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile kernels once for all tests, in the driver's own cache; ours is off."""
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "pocl"))
    monkeypatch.setenv("EDGECONV_OPENCL_CACHE", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The artifact of a network all of whose steps are in OpenCL."""
    return write_folder(tmp_path / "artifact", linked(plan()))


def check(model: Model, seed: int, scales: int = 1) -> None:
    case = inputs(seed)
    got = model.run(case)
    for name, want in outputs(**case, scales=scales).items():
        np.testing.assert_array_equal(got[name], want, strict=True)


PLACES = [ALL, ("add",), ("scale",), ("relu_count",), ("add", "relu_count")]


@pytest.mark.parametrize("on_gpu", PLACES, ids=["+".join(place) for place in PLACES])
def test_steps_of_gpu_and_cpu(on_gpu: Collection[str], tmp_path: Path) -> None:
    folder = write_folder(tmp_path, linked(plan(on_gpu=on_gpu)))
    with Model(folder) as model:
        assert "Portable Computing Language, driver" in model.device
        for seed in range(3):
            check(model, seed)
        assert all(step.ms > 0 for step in model.profile())

    command = [folder / "runner", "--self-test", "--profile", "--repeat", "1"]
    result = run([*command, "--dump-steps", tmp_path / "steps"])

    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["self_test"]["passed"]
    assert report["device"] == model.device
    assert all(step["ms"][0] > 0 for step in report["steps"])
    case = inputs(0)
    assert (tmp_path / "steps/0_0.bin").read_bytes() == (case["a"] + case["b"]).tobytes()
    assert (tmp_path / "steps/2_0.bin").read_bytes() == outputs(**case)["y"].tobytes()


@pytest.mark.parametrize("scales", [1, 2])
def test_kernels_that_read_images(scales: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, linked(plan(scales, images=True)), scales)
    with Model(folder) as model:
        for seed in range(3):
            check(model, seed, scales)
    assert run([folder / "runner", "--self-test"]).returncode == 0


def test_several_models_on_several_threads(folder: Path, tmp_path: Path) -> None:
    mixed = linked(plan(2, on_gpu=("add", "relu_count")), Emit.LIB)
    other_folder = write_folder(tmp_path / "other", mixed)
    failures: list[BaseException] = []

    def work(model: Model, scales: int) -> None:
        try:
            for seed in range(30):
                check(model, seed, scales)
        except BaseException as error:
            failures.append(error)

    with Model(folder) as one, Model(folder) as same, Model(other_folder, threads=2) as other:
        jobs = [(one, 1), (one, 1), (same, 1), (other, 2)]
        threads = [threading.Thread(target=work, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_second_process_takes_the_kernels_of_the_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_OPENCL_CACHE", str(tmp_path / "made/by/the/runtime"))

    def keep() -> tuple[int, bytes]:
        result = run([folder / "runner", "--self-test"])
        assert result.returncode == 0, result.stderr
        (kept,) = (tmp_path / "made/by/the/runtime").iterdir()
        return kept.stat().st_ino, kept.read_bytes()

    first = keep()
    assert keep() == first
    (kept,) = (tmp_path / "made/by/the/runtime").iterdir()
    kept.write_bytes(first[1][:-100])
    assert keep()[1] == first[1]


def test_the_cache_forgets_what_was_used_longest_ago(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("EDGECONV_OPENCL_CACHE", str(cache))
    Model(folder).close()
    (own,) = cache.iterdir()
    content = own.read_bytes()
    # Holes: they take no place on the disk, but count.
    for number in range(9):
        kept = cache / f"{number:016x}.clbin"
        with kept.open("wb") as file:
            file.truncate(32 << 20)
        os.utime(kept, (0, 1000 - number))
    (cache / "another file").write_bytes(b"stays")
    os.utime(own, (0, 0))
    Model(folder).close()
    assert own.stat().st_mtime > 1000  # used
    assert len(list(cache.iterdir())) == 11  # nothing was added
    own.unlink()
    Model(folder).close()
    assert own.read_bytes() == content
    left = {f"{number:016x}.clbin" for number in range(7)}
    assert {kept.name for kept in cache.iterdir()} == {own.name, "another file", *left}


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_cache_is_in_the_users_own_folder(
    variable: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGECONV_OPENCL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    # PoCL keeps its own only: asked for binaries, it would build each kernel once more.
    Model(folder).close()
    cache = tmp_path / (".cache" if variable == "HOME" else "") / "edgeconv/opencl"
    assert not cache.exists()

    library = tmp_path / "libimitation.so"
    gcc("-shared", "-fPIC", KERNELS.parent / "imitation.c", "-o", library, "-pthread")
    monkeypatch.setenv("EDGECONV_OPENCL", str(library))
    for _ in range(2):
        result = run([folder / "runner", "--self-test"])
        assert result.returncode == 0, result.stderr
        (kept,) = cache.iterdir()
        assert kept.suffix == ".clbin"


@pytest.mark.parametrize("first", ["gpu", "cpu"])
def test_static_libraries_of_a_gpu_and_a_cpu(first: str, tmp_path: Path) -> None:
    app = tmp_path / "app.c"
    app.write_text("""
        #include <stdio.h>
        #include "edgeconv.h"
        const ec_program *edgeconv_program_gpu(void), *edgeconv_program_cpu(void);
        static void run(const ec_program *program, const char *folder) {
            ec_model *model;
            ec_status status = ec_open(program, folder, NULL, &model);
            if (status == EC_OK)
                status = ec_run(model);
            puts(status == EC_OK ? ec_device(model) : ec_last_error(model));
            ec_close(model);
        }
        int main(int argc, char **argv) {
            run(edgeconv_program_cpu(), argv[argc - 1]);
            run(edgeconv_program_gpu(), argv[argc - 1]);
        }
    """)
    entries = {
        "gpu": linked(plan(), Emit.STATIC, model="gpu"),
        "cpu": c_programs.linked("host", Emit.STATIC, model="cpu"),
    }
    libraries = [
        write_folder(tmp_path / name, entries[name]) / "libmodel.a"
        for name in sorted(entries, key=lambda name: name != first)
    ]
    gcc(app, *libraries, "-o", tmp_path / "app", "-lm", "-ldl", "-pthread")

    result = run([tmp_path / "app", tmp_path / "gpu"])

    assert result.returncode == 0, result.stderr
    expected = (
        "Portable Computing Language" if first == "gpu" else "put that of a GPU's model first"
    )
    on_cpu, on_gpu = result.stdout.splitlines()
    assert on_cpu == ""
    assert expected in on_gpu


def test_a_build_failure_shows_the_compilers_message(folder: Path, tmp_path: Path) -> None:
    wrong = linked(plan(), Emit.LIB, source=SOURCE.replace("int positive", "integer positive"))
    with pytest.raises(DeviceError, match=r"does not build the kernels(.|\n)*error: .*'integer'"):
        Model(write_folder(tmp_path / "wrong", wrong))
    with Model(folder) as model:
        check(model, 0)


def test_a_machine_without_a_driver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", "/nowhere")  # of the loader of drivers
    result = run([folder / "runner", "--self-test"])
    assert (result.returncode, result.stdout) == (3, "")
    assert "has no OpenCL device (CL_PLATFORM_NOT_FOUND_KHR)" in result.stderr
    assert "install the driver" in result.stderr


def test_on_the_driver_under_sanitizers(tmp_path: Path) -> None:
    source = write_program(tmp_path / "program.c", plan(on_gpu=("add", "relu_count")))
    sources = [*runtime_sources(), *(RUNTIME / "src" / "runner").glob("*.c"), source]
    flags = (*SANITIZED, "-DEC_ENTRY=edgeconv_program")
    gcc(*flags, *sources, "-o", tmp_path / "runner", "-lm", "-ldl", "-pthread")
    folder = write_folder(tmp_path, {})
    result = run([folder / "runner", "--self-test", "--repeat", "20", "--profile"])
    assert (result.returncode, result.stderr) == (0, "")


def test_kernels_without_a_fault_under_oclgrind(folder: Path) -> None:
    result = run([folder / "runner", "--self-test"], env=oclgrind())
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert "Oclgrind" in report["device"]


FAULTS = {
    "output": ("i < COUNT; i += 64", "i <= COUNT; i += 64", "Invalid write"),
    "arena": ("if (i < COUNT)\n        sum", "if (i <= COUNT)\n        sum", "Invalid write"),
    "weights": ("scale[i % COLUMNS]", "scale[i % COLUMNS + 1]", "Invalid read"),
    "race": ("barrier(CLK_LOCAL_MEM_FENCE);", ";", "data race"),
    "uninitialized": ("int positive = 0;", "int positive;", "Uninitialized value"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_oclgrind_finds(fault: str, tmp_path: Path) -> None:
    right, wrong, message = FAULTS[fault]
    assert SOURCE.count(right) == 1
    folder = write_folder(tmp_path, linked(plan(), Emit.EXE, source=SOURCE.replace(right, wrong)))
    result = run([folder / "runner", "--self-test"], env=oclgrind())
    assert message in result.stdout + result.stderr
