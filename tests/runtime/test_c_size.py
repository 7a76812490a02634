"""The runtime is small: code and constants, without kernels, stay under 64 KiB."""

import struct

import pytest
from c_programs import WEIGHTS_SHA256

from edgeconv.compiler.link import Emit, link
from edgeconv.compiler.link.runtime_objects import library_objects, runner_objects
from edgeconv.compiler.link.toolchain import zig
from edgeconv.plan import Plan
from edgeconv.target import load_target

LIMIT = 64 * 1024
ALLOCATED, WRITABLE = 2, 1
TARGETS = ["host", "rasp4"]
EMPTY = Plan((), (), (), (), 0, 0, 0, 0)


def read_only_bytes(elf: bytes) -> int:
    """Code, constants, unwind tables, dynamic symbols: all that is loaded and not written to."""
    assert elf[:5] == b"\x7fELF\x02"
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry_bytes, count = struct.unpack_from("<HH", elf, 0x3A)
    total = 0
    for at in range(table, table + count * entry_bytes, entry_bytes):
        (flags,) = struct.unpack_from("<Q", elf, at + 8)
        (size,) = struct.unpack_from("<Q", elf, at + 32)
        total += size if flags & ALLOCATED and not flags & WRITABLE else 0
    return total


@pytest.mark.parametrize("name", TARGETS)
def test_shared_library_without_kernels(name: str) -> None:
    entries = link(
        EMPTY,
        model="empty",
        target=load_target(name),
        kernels={},
        weights_sha256=WEIGHTS_SHA256,
        golden_cases=0,
        emit=Emit.LIB,
    )
    assert 4 * 1024 < read_only_bytes(entries["libmodel.so"]) < LIMIT


@pytest.mark.parametrize("opencl", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_runtime_and_runner_without_the_c_library(name: str, opencl: bool) -> None:
    toolchain = load_target(name).toolchain
    compiler = zig(toolchain.shared if opencl else toolchain.runner, toolchain.cpu)
    library = library_objects(compiler, opencl=opencl)
    total = sum(map(read_only_bytes, {**library, **runner_objects(compiler)}.values()))
    assert 8 * 1024 < total < LIMIT
    # Only with OpenCL is there a need for the dynamic loader.
    assert any(b"dlopen" in content for content in library.values()) == opencl
