"""The OpenCL backend on an imitation of a library that fails on demand, under gcc's sanitizers."""

from pathlib import Path

import pytest
from c_programs import KERNELS, SANITIZED, gcc, run, write_folder
from opencl_programs import plan, runtime_sources, write_program

HERE = KERNELS.parent
BUILDS = {
    "plain": ("-O2",),
    "address": SANITIZED,
    "thread": ("-O1", "-g", "-fsanitize=thread"),
}


@pytest.mark.parametrize("build", BUILDS)
def test_the_whole_backend(build: str, tmp_path: Path) -> None:
    flags = BUILDS[build]
    library = tmp_path / "libimitation.so"
    gcc(*flags, "-shared", "-fPIC", HERE / "imitation.c", "-o", library, "-pthread")
    objects = []
    for name, network in (
        ("a", plan()),
        ("b", plan(2, ("add", "relu_count"))),
        ("c", plan(images=True)),
    ):
        source = write_program(
            tmp_path / f"program_{name}.c",
            network,
            model=name,
            half_arithmetic=name == "b",
        )
        objects.append(tmp_path / f"program_{name}.o")
        gcc(*flags, f"-DEC_ENTRY=edgeconv_program_{name}", "-c", source, "-o", objects[-1])
    folder = write_folder(tmp_path / "artifact", {})
    counted = ("-Wl,--wrap=malloc", "-Wl,--wrap=calloc")
    sources = [*runtime_sources(), HERE / "drive_opencl.c"]
    libraries = ("-lm", "-ldl", "-pthread")
    gcc(*flags, *counted, *sources, *objects, "-o", tmp_path / "drive", *libraries)

    result = run([tmp_path / "drive", folder, library, tmp_path / "cache"])

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "all is well\n"
