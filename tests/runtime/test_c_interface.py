"""The C interface, driven by `drive.c`, under gcc's warnings and sanitizers."""

from pathlib import Path

import pytest
from c_programs import KERNELS, SANITIZED, gcc, run, runtime_sources, write_folder, write_program

from edgeconv.compiler.link.runtime_objects import RUNTIME

BUILDS = {
    "plain": ("-O2",),
    "address": SANITIZED,
    "thread": ("-O1", "-g", "-fsanitize=thread"),
}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("cores", ["equal", "uneven"])
def test_the_whole_interface(build: str, cores: str, tmp_path: Path) -> None:
    for index in range(64):
        folder = tmp_path / f"cpu{index}"
        folder.mkdir()
        speed = 1024 if index % 2 or cores == "equal" else 400
        (folder / "cpu_capacity").write_text(f"{speed}\n")
    objects = []
    for name, scales in (("a", 1), ("b", 2)):
        source = write_program(tmp_path / f"program_{name}.c", model=name, scales=scales)
        objects.append(tmp_path / f"program_{name}.o")
        gcc(*BUILDS[build], f"-DEC_ENTRY=edgeconv_program_{name}", "-c", source, "-o", objects[-1])
        write_folder(tmp_path / name, {}, scales)
    sources = [*runtime_sources(), KERNELS.parent / "drive.c"]
    described = f'-DEC_CPU_FOLDER="{tmp_path}"'
    gcc(*BUILDS[build], described, *sources, *objects, "-o", tmp_path / "drive", "-lm", "-pthread")

    result = run([tmp_path / "drive", tmp_path / "a", tmp_path / "b"])

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "all is well\n"


def test_the_header_is_fit_for_cpp(tmp_path: Path) -> None:
    (tmp_path / "app.cc").write_text(
        '#include "edgeconv.h"\nint main() { return ec_api_version(); }'
    )
    result = run(
        [
            "g++",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-c",
            tmp_path / "app.cc",
            f"-I{RUNTIME}/include",
            "-o",
            tmp_path / "app.o",
        ]
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_runner_compiles_without_a_warning(tmp_path: Path) -> None:
    for source in (RUNTIME / "src" / "runner").glob("*.c"):
        gcc("-O2", "-c", source, "-o", tmp_path / "runner.o")
