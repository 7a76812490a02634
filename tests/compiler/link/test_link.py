import os
import stat
import sys
import threading
from importlib import metadata
from pathlib import Path

import pytest
from c_programs import (
    KERNELS,
    WARNINGS,
    WEIGHTS_SHA256,
    compile_kernels,
    linked,
    plan,
    run,
    write_folder,
)

from edgeconv.compiler.link import Emit, c_libraries, link
from edgeconv.compiler.link.runtime_objects import (
    RUNTIME,
    library_objects,
    runner_objects,
)
from edgeconv.compiler.link.toolchain import zig
from edgeconv.errors import EdgeconvError, ToolchainError
from edgeconv.files import cache_dir
from edgeconv.target import load_target

HOST = load_target("host")


@pytest.fixture
def cold_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of ours, beside zig's usual one (filling that takes a minute)."""
    usual = cache_dir("runtime").parents[1] / "zig"
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(usual)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def link_host(kernels: dict[str, bytes], emit: Emit = Emit.LIB) -> dict[str, bytes]:
    return link(
        plan(),
        model="net",
        target=HOST,
        kernels=kernels,
        weights_sha256=WEIGHTS_SHA256,
        golden_cases=2,
        emit=emit,
    )


@pytest.mark.parametrize(
    ("emit", "names"),
    [
        (Emit.BUNDLE, {"libmodel.so", "edgeconv.h", "runner"}),
        (Emit.LIB, {"libmodel.so", "edgeconv.h"}),
        (Emit.STATIC, {"libmodel.a", "edgeconv.h"}),
        (Emit.EXE, {"runner"}),
    ],
)
def test_what_is_emitted(emit: Emit, names: set[str]) -> None:
    entries = linked("host", emit)
    assert set(entries) == names
    if "edgeconv.h" in names:
        assert entries["edgeconv.h"] == (RUNTIME / "include/edgeconv.h").read_bytes()


@pytest.mark.parametrize("emit", [Emit.BUNDLE, Emit.STATIC])
@pytest.mark.parametrize("name", ["host", "rasp4"])
def test_equal_inputs_give_equal_bytes_in_any_folder(
    name: str, emit: Emit, tmp_path: Path, cold_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = linked(name, emit)
    folder = tmp_path / "somewhere-else" / "deeper"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert linked(name, emit) == first
    for content in first.values():
        for path in (Path.home(), Path(sys.prefix), Path(__file__).parents[3], Path("/tmp")):
            assert f"{path}/".encode() not in content


def test_the_shared_library_exports_its_interface_only(tmp_path: Path) -> None:
    library = write_folder(tmp_path, linked("host", Emit.LIB)) / "libmodel.so"
    exported = run(["nm", "-D", "--defined-only", "--format=just-symbols", library]).stdout.split()
    assert "ec_run" in exported
    assert [n for n in exported if not n.startswith("ec_")] == ["edgeconv_program"]


def test_two_static_libraries_in_one_program(tmp_path: Path) -> None:
    """The libraries share kernels and the runtime; `drive.c` runs both, with threads."""
    libraries = []
    for name, scales in (("a", 1), ("b", 2)):
        entries = linked("host", Emit.STATIC, model=name, scales=scales)
        folder = write_folder(tmp_path / name, entries, scales)
        libraries.append(folder / "libmodel.a")
    members = run(["ar", "t", libraries[0]]).stdout.split()
    assert {"edgeconv_program_a.o", "k_add.o", "k_scale.o", "pool.o", "run.o"} <= set(members)

    includes = (f"-I{RUNTIME}/include", f"-I{RUNTIME}/src")
    source = KERNELS.parent / "drive.c"
    app = tmp_path / "drive"
    command = ["gcc", *WARNINGS, *includes, source, "-o", app, *libraries, "-lm", "-pthread"]
    built = run(command)
    assert (built.returncode, built.stderr) == (0, "")
    result = run([app, tmp_path / "a", tmp_path / "b"])
    assert (result.returncode, result.stdout) == (0, "all is well\n"), result.stderr


def test_a_kernel_that_is_missing() -> None:
    kernels = compile_kernels(HOST)
    del kernels["k_scale"]
    with pytest.raises(EdgeconvError, match="not compiled: k_scale"):
        link_host(kernels)


@pytest.mark.parametrize("emit", [Emit.LIB, Emit.EXE])
def test_a_kernel_that_calls_what_is_not_there(emit: Emit, tmp_path: Path) -> None:
    source = tmp_path / "k_scale.c"
    source.write_text("int nowhere_defined(void); int k_scale(void) { return nowhere_defined(); }")
    zig(HOST.toolchain.runner, HOST.toolchain.cpu).compile_objects([str(source)], (), tmp_path)
    kernels = {**compile_kernels(HOST), "k_scale": (tmp_path / "k_scale.o").read_bytes()}
    with pytest.raises(ToolchainError, match="nowhere_defined"):
        link_host(kernels, emit)


def test_a_kernel_that_is_no_object() -> None:
    with pytest.raises(ToolchainError):
        link_host({**compile_kernels(HOST), "k_scale": b"text"})


def test_the_runtime_is_compiled_once(cold_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = zig(HOST.toolchain.shared, HOST.toolchain.cpu)
    first = library_objects(compiler, opencl=False)
    assert {"pool.o", "run.o", "model.o"} <= set(first)
    monkeypatch.setattr(type(compiler), "compile_objects", None)
    assert library_objects(compiler, opencl=False) == first


def test_compiling_at_the_same_time(cold_cache: Path) -> None:
    compiler = zig(HOST.toolchain.shared, HOST.toolchain.cpu)
    results: list[dict[str, bytes]] = []
    threads = [
        threading.Thread(target=lambda: results.append(runner_objects(compiler))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert results[0] == results[1] == results[2]
    assert len(list((cold_cache / "edgeconv/runtime").iterdir())) == 1  # nothing left aside


def test_a_cache_that_cannot_be_written(
    cold_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiler = zig(HOST.toolchain.shared, HOST.toolchain.cpu)
    assert "pool.o" in library_objects(compiler, opencl=False)


def test_without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ToolchainError, match=r"edgeconv\[compiler\]"):
        linked("host", Emit.EXE)


def test_android_without_an_ndk_has_the_runner_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    assert set(linked("android-arm64", Emit.BUNDLE)) == {"runner", "edgeconv.h"}
    assert "ANDROID_NDK_HOME" in caplog.text
    for emit in (Emit.LIB, Emit.STATIC):
        with pytest.raises(ToolchainError, match="ANDROID_NDK_HOME"):
            linked("android-arm64", emit)


def test_android_with_an_ndk_uses_its_compiler(
    tmp_path: Path, cold_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder laid out like an NDK, whose clang is zig's with another C library."""
    tools = tmp_path / "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin"
    tools.mkdir(parents=True)
    scripts = {
        "aarch64-linux-android24-clang": 'cc -target aarch64-linux-gnu.2.28 "$@"',
        "llvm-ar": 'ar "$@"',
    }
    for name, command in scripts.items():
        path = tools / name
        log = f'echo "{name} $@" >> {tmp_path}/log'
        path.write_text(f"#!/bin/sh\n{log}\nexec {sys.executable} -m ziglang {command}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    assert "libmodel.so" in linked("android-arm64", Emit.LIB)
    assert "libmodel.a" in linked("android-arm64", Emit.STATIC)
    log = (tmp_path / "log").read_text()
    assert "android24-clang -mcpu=generic" in log
    assert "llvm-ar rcsD libmodel.a" in log

    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path))
    with pytest.raises(ToolchainError, match="android24-clang"):
        linked("android-arm64", Emit.LIB)


def test_the_c_library_is_built_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built while something else is done is what linking looks for."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "zig"))
    with c_libraries(HOST, Emit.BUNDLE):
        pass
    built = set((tmp_path / "zig").rglob("*.a"))
    assert {path.name for path in built} >= {"libcompiler_rt.a"}
    linked("host", Emit.BUNDLE)
    assert set((tmp_path / "zig").rglob("*.a")) == built


def test_building_the_c_library_ends_where_the_rest_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "zig"))
    with (
        pytest.raises(EdgeconvError, match="no model"),
        c_libraries(load_target("rasp4"), Emit.EXE),
    ):
        raise EdgeconvError("no model")
    assert not list((tmp_path / "zig").rglob("libc.a"))


def test_a_c_library_that_cannot_be_built_is_reported_by_linking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "file"))
    with c_libraries(HOST, Emit.BUNDLE):
        pass
    with pytest.raises(ToolchainError, match="exit code"):
        linked("host", Emit.BUNDLE)
