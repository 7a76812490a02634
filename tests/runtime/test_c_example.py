"""`examples/c/classify.c`, built as its first comment says, for this machine and for boards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_programs import WARNINGS, inputs, linked, outputs, run, write_folder

from edgeconv.compiler.link import Emit
from edgeconv.compiler.link.link import LINK_FLAGS, STATIC_FLAGS
from edgeconv.compiler.link.toolchain import zig
from edgeconv.target import load_target

SOURCE = Path(__file__).parents[2] / "examples" / "c" / "classify.c"


def expected() -> str:
    scores = outputs(**inputs(0))["y"].ravel()
    top = np.argsort(-scores)[:3]
    return "".join(f"{i} {scores[i]:.4f} class {i}\n" for i in top)


def files(folder: Path) -> list[Path]:
    (folder / "labels.txt").write_text("".join(f"class {i}\n" for i in range(703)))
    return [folder, folder / "golden/0/input_0.bin", folder / "golden/0/input_1.bin"]


def gcc(*arguments: str | Path) -> None:
    result = run(["gcc", *WARNINGS, *arguments])
    assert result.returncode == 0, result.stderr


def test_with_the_shared_library(host_folder: Path, tmp_path: Path) -> None:
    app = tmp_path / "classify"
    library = ("-L", host_folder, "-lmodel", f"-Wl,-rpath,{host_folder}")
    gcc("-I", host_folder, SOURCE, "-o", app, *library)

    result = run([app, *files(host_folder)])
    assert (result.returncode, result.stdout) == (0, expected()), result.stderr

    short = tmp_path / "short"
    short.write_bytes(b"123")
    result = run([app, host_folder, short, short])
    assert result.returncode == 1
    assert "short: is not of the input's size" in result.stderr


def test_with_the_static_library(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, linked("host", Emit.STATIC, model="My net-1"))
    app = tmp_path / "classify"
    program = "-DPROGRAM=edgeconv_program_My_net_1"
    gcc("-I", folder, program, SOURCE, "-o", app, folder / "libmodel.a", "-lm", "-pthread")

    result = run([app, *files(folder)])
    assert (result.returncode, result.stdout) == (0, expected()), result.stderr


@pytest.mark.parametrize("name", ["rasp4", "rasp2"])
def test_on_emulated_boards(name: str, tmp_path: Path) -> None:
    """With the static C library, since the emulated board has no other.

    The runner's flags: zig builds that library anew for others, which takes a minute.
    """
    board = load_target(name)
    triple = board.toolchain.static
    target = replace(board, toolchain=replace(board.toolchain, shared=triple))
    folder = write_folder(tmp_path, linked(target, Emit.STATIC))
    compiler = zig(triple, board.toolchain.cpu)
    flags = (*WARNINGS, "-O2", f"-I{folder}", "-DPROGRAM=edgeconv_program_net")
    compiler.compile_objects([str(SOURCE)], flags, folder)
    compiler.compile(
        ["-o", "classify", "classify.o", "libmodel.a", *LINK_FLAGS, *STATIC_FLAGS], folder
    )
    assert board.emulator
    emulator = [board.emulator.program, "-cpu", board.emulator.cpu]

    result = run([*emulator, folder / "classify", *files(folder)])
    assert (result.returncode, result.stdout) == (0, expected()), result.stderr
