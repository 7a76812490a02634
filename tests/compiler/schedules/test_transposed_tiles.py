"""Changes of layout in registers: the code is vectors and shuffles, the rest of a row included."""

from __future__ import annotations

import re

import pytest
from tvm import te

from edgeconv.compiler.codegen.lower import compile_kernel
from edgeconv.compiler.compute.layout import block_channels, unblock_channels
from edgeconv.compiler.schedules.machine import Machine
from edgeconv.compiler.schedules.registry import apply_rule
from edgeconv.target import Llvm

X86 = Llvm("x86_64-linux-gnu", "x86-64-v3"), Machine(8, 16, False, 32 << 10, 512 << 10)
ARM = Llvm("aarch64-linux-gnu", "cortex-a72", ("+neon",)), Machine(4, 32, True, 32 << 10, 1 << 20)
# Loads and stores of single floats.
SCALAR = (
    r"\tv(?:movss|insertps|extractps)\t|\t(?:ldr|str|ldur|stur)\ts\d|\t(?:ld1|st1)\t{ v\d+\.s }"
)


def assembly(change: str, channels: int, size: tuple[int, ...], code: tuple[Llvm, Machine]) -> str:
    llvm, machine = code
    block = machine.lanes
    if change == "to_plain":
        data = te.placeholder((1, -(-channels // block), *size, block))
        result = unblock_channels(data, channels)
    else:
        data = te.placeholder((1, channels, *size))
        result = block_channels(data, block)
    scheduled = apply_rule(te.create_prim_func([data, result]), machine)
    return compile_kernel(scheduled, "kernel", llvm, listing=True).assembly


@pytest.mark.parametrize("code", [X86, ARM], ids=["x86", "arm"])
@pytest.mark.parametrize("change", ["to_plain", "to_blocked"])
@pytest.mark.parametrize(
    ("channels", "size"), [(64, (7, 7)), (30, (14, 15)), (108, (8, 28, 28)), (24, (113,))]
)
def test_no_element_moves_alone(change, channels, size, code) -> None:
    text = assembly(change, channels, size, code)
    assert re.search(r"\tv?(?:unpckhps|zip2)\t", text)
    assert not re.search(SCALAR, text)
