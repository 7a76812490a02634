"""The counting plugin on a program whose every instruction is known, and the estimate of times."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import benchmarks.arm.__main__ as counting
from benchmarks import prepare
from benchmarks.arm import emulate
from benchmarks.arm.boards import BOARDS
from edgeconv.compiler.link.toolchain import zig

PLUGIN = Path(emulate.__file__).parent / "plugin"

# Ten times around five instructions; then 1024 lines of a cache are read, twice.
PROGRAM = """
    .globl _start
_start:
    hint #120
    b 1f
1:  mov x0, #10
2:  fmla v0.4s, v1.4s, v2.s[1]
    ldp q3, q4, [sp]
    str x0, [sp, #32]
    subs x0, x0, #1
    b.ne 2b
    b 5f
5:  hint #121
    b 6f
6:  mov x3, #2
3:  adr x1, buffer
    mov x0, #1024
4:  ldr x2, [x1], #64
    subs x0, x0, #1
    b.ne 4b
    subs x3, x3, #1
    b.ne 3b
    mov x0, #0
    mov x8, #93
    svc #0
    .bss
    .balign 4096
buffer:
    .space 65536
"""


ENDLESS = """
    .globl _start
_start:
    b _start
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arm")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]
    sources = sorted(map(str, PLUGIN.glob("*.c")))
    subprocess.run(["gcc", *flags, "-o", str(folder / "count.so"), *sources], check=True)
    for name, source in (("program", PROGRAM), ("endless", ENDLESS)):
        (folder / f"{name}.s").write_text(source)
        zig("aarch64-linux-musl", "baseline").compile(
            ["-nostdlib", "-static", f"{name}.s", "-o", name], folder
        )
    return folder


@pytest.fixture
def lines(build, monkeypatch):
    monkeypatch.setattr(emulate, "BUILD", build)
    return emulate.emulate([str(build / "program")], "pi4", "all", limit_s=300)[0]


def test_every_instruction_is_counted_by_kind(lines):
    total = lines[-1]
    assert total["what"] == "total"
    # Before the first loop, in it, after it; the second loop; after it.
    assert total["insns"] == 3 + 5 * 10 + 4 + 2 * (2 + 3 * 1024 + 2) + 3
    classes = total["classes"]
    assert classes["fma_vector"] == 10
    assert classes["load_vector"] == 10
    assert classes["store"] == 10
    assert classes["load"] == 2 * 1024
    assert classes["branch"] == 1 + 10 + 2 + 2 * 1024 + 2
    assert classes["other"] == 2 + 1  # hints, svc
    assert sum(classes.values()) == total["insns"]
    assert total["macs"] == 40
    assert total["load_bytes"] == 10 * 32 + 2 * 1024 * 8
    assert total["store_bytes"] == 10 * 8


def test_a_region_is_what_runs_between_the_marks(lines):
    region = lines[0]
    assert region["what"] == "region"
    # A block of instructions counts as a whole where it begins: that of the end mark, with the
    # branch behind it, belongs to the region, and that of the begin mark does not.
    assert region["insns"] == 1 + 5 * 10 + 1 + 2
    assert region["macs"] == 40
    assert region["load_bytes"] == 320


def test_misses_of_a_buffer_larger_than_the_first_level(lines):
    memory = lines[-1]["memory"]
    # Twice the size of L1 in the order of addresses: each line is gone when it comes again.
    assert memory["l1d_miss"] - 2 * 1024 in (1, 2)  # and the stack's
    assert memory["l2_miss"] - 1024 in (1, 2)
    assert memory["l3_miss"] == 0
    assert lines[0]["memory"]["l1d_miss"] in (1, 2)


def test_failures_under_the_emulator_are_told(build, monkeypatch):
    monkeypatch.setattr(emulate, "BUILD", build)
    with pytest.raises(emulate.EmulationError, match="exit code"):
        emulate.emulate([str(build / "missing")], "pi4", "all", limit_s=300)
    with pytest.raises(emulate.EmulationError, match="longer than 1 s"):
        emulate.emulate([str(build / "endless")], "pi4", "all", limit_s=1)


def test_estimated_times_follow_the_fit():
    counts = emulate.Counts(
        insns=1e8,
        fma_insns=7e7,
        macs=2.8e8,
        load_bytes=0,
        store_bytes=0,
        l1d_misses=4e6,
        l2_misses=1e6,
        memory_bytes=1e8,
    )
    assert counts.fitted_ms(BOARDS["pi4"]) == pytest.approx((0.801e8 + 15.11 * 4e6) / 1.8e6)
    assert counts.fitted_ms(BOARDS["pi5"]) == pytest.approx((0.4752e8 + 0.1146e8) / 2.4e6)


@pytest.fixture
def counted_at_once(monkeypatch):
    """Cases by any name, all of whose counts are a million."""
    counts = emulate.Counts(*[1e6] * len(emulate.Counts.__dataclass_fields__))
    monkeypatch.setattr(prepare, "sources", lambda only, **kinds: [only])
    monkeypatch.setattr(prepare, "prepare", lambda source, target: SimpleNamespace(name=source))
    monkeypatch.setattr(counting, "artifact_counts", lambda case, board, limit_s: counts)


@pytest.mark.usefixtures("counted_at_once")
def test_what_was_counted_earlier_can_stay(tmp_path, monkeypatch, capsys):
    """Of two runs on one file, the second keeps the first one's rows only where it is asked to."""

    def shown(*arguments: str) -> str:
        command = ["arm", "--json", str(tmp_path / "arm.json"), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        counting.main()
        return capsys.readouterr().out

    first = shown("--only", "one")
    both = shown("--only", "two", "--add")
    row = next(line for line in first.splitlines() if line.startswith("one"))
    assert row in both.splitlines()
    assert any(line.startswith("two") for line in both.splitlines())
    assert "two" not in shown("--only", "one")


@pytest.mark.usefixtures("counted_at_once")
def test_a_page_keeps_the_rows_that_were_not_counted_again(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- arm: made by x -->\n<!-- end of arm -->\n")

    def written(*arguments: str) -> list[str]:
        # Each run has a file of its own: the rows of others stand on the page alone.
        result = tmp_path / f"{arguments[1]}.json"
        command = ["arm", "--json", str(result), "--markdown", str(page), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        counting.main()
        capsys.readouterr()
        return [line for line in page.read_text().splitlines() if line.startswith("| ")][2:]

    (one,) = written("--only", "one")
    assert written("--only", "two", "--add") == [one, one.replace("one", "two")]
    page.write_text(page.read_text().replace(one, one.replace("1", "7")))
    assert written("--only", "one", "--add") == [one, one.replace("one", "two")]
    assert written("--only", "one") == [one]
