import itertools
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from edgeconv import host
from edgeconv.errors import UsageError
from edgeconv.resources import resource_dir
from edgeconv.target import Cpu, list_targets, load_target, parse_target

CPUS = ["android-arm64", "host", "rasp2", "rasp3", "rasp4", "rasp5"]
GPUS = [
    *("adreno-660", "adreno-740", "android-opencl", "mali-g52", "mali-g57", "mali-g610"),
    "videocore-7",
]
NAMES = sorted(CPUS + GPUS)

BOARD = """\
name = "my-board"
description = "A board"
[llvm]
triple = "aarch64-linux-gnu"
cpu = "cortex-a55"
[toolchain]
shared = "aarch64-linux-gnu.2.28"
static = "aarch64-linux-musl"
cpu = "cortex_a55"
[cpu]
cores = 2
frequency_mhz = 1000
vector_bits = 128
vector_registers = 32
fma_lanes_per_cycle = 4
l1d_kib = 32
l2_kib = 256
"""

GPU_BOARD = (
    BOARD.replace('static = "aarch64-linux-musl"\n', "")
    + """\
[gpu]
api = "opencl"
max_workgroup = 256
wave = 16
local_kib = 0
registers = 64
compute_units = 2
fma_lanes_per_cycle = 32
macs_per_byte = 8
image_texels = 0
half_arithmetic = true
unified_memory = true
"""
)


def board(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my-board.toml"
    path.write_text(text)
    return str(path)


def test_shipped_targets_load_and_are_named_like_their_files():
    assert [target.name for target in list_targets()] == NAMES
    assert [path.stem for path in sorted(resource_dir("targets").glob("*.toml"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_target_survives_json(name):
    target = load_target(name)
    assert parse_target(target.to_json(), "manifest") == target


def test_a_users_file_works(tmp_path):
    target = load_target(board(tmp_path, BOARD))
    assert (target.name, target.lanes, target.emulator) == ("my-board", 4, None)


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ("cores = 2", "coers = 2", "cpu.coers", "'cores'"),
        ("l2_kib = 256\n", "", "cpu.l2_kib", "an integer"),
        ("cores = 2", 'cores = "2"', "cpu.cores", "an integer"),
        ("cores = 2", "cores = true", "cpu.cores", "an integer"),
        ("cores = 2", "cores = 0", "cpu.cores", "1 to 1024"),
        ("vector_bits = 128", "vector_bits = 100", "cpu.vector_bits", "64, 128"),
        ('cpu = "cortex-a55"', 'cpu = "x"\nfeatures = ["neon"]', "llvm.features[0]", "+NAME"),
        ('cpu = "cortex-a55"', 'cpu = "x"\nfeatures = "+neon"', "llvm.features", "a list"),
        ('cpu = "cortex-a55"', 'cpu = "x"\nfloat_abi = "hrd"', "llvm.float_abi", "'hard'"),
        ('static = "aarch64-linux-musl"', 'static = "two words"', "toolchain.static", "triple"),
        ('name = "my-board"', 'name = "My Board"', "name", "lower-case"),
        ('name = "my-board"', 'name = "my-board"\nnative = true', "native", "unknown key"),
        ('name = "my-board"', 'name = "my-board"\ndetect = 1', "detect", "true or false"),
        ("[llvm]", "[llvm", "TOML", "line 3"),
    ],
)
def test_a_wrong_file_names_file_key_and_what_is_expected(tmp_path, old, new, key, hint):
    assert old in BOARD
    path = board(tmp_path, BOARD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_target(path)
    for part in (path, key, hint):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ('api = "opencl"', 'api = "vulkan"', "gpu.api", "expected one of opencl"),
        ("wave = 16", "wave = 0", "gpu.wave", "1 to 128"),
        ("image_texels = 0", "image_texels = -1", "gpu.image_texels", "0 to 2147483647"),
        ("[gpu]", "[gpu]\nlanes = 4", "gpu.lanes", "unknown key"),
        ("registers = 64\n", "", "gpu.registers", "an integer"),
        ('cpu = "cortex_a55"', 'cpu = "x"\nstatic = "a-b"', "toolchain.static", "[gpu]"),
    ],
)
def test_a_wrong_gpu_section_too(tmp_path, old, new, key, hint):
    assert old in GPU_BOARD
    with pytest.raises(UsageError) as caught:
        load_target(board(tmp_path, GPU_BOARD.replace(old, new)))
    for part in (key, hint):
        assert part in str(caught.value)


def test_a_gpu_target_works_and_differs_from_the_boards(tmp_path):
    target = load_target(board(tmp_path, GPU_BOARD))
    assert target.gpu is not None
    assert target.gpu.max_workgroup == 256
    assert load_target(board(tmp_path, BOARD)).gpu is None
    assert load_target(board(tmp_path, BOARD)).toolchain.runner == "aarch64-linux-musl"
    assert target.toolchain.runner == "aarch64-linux-gnu.2.28"


def test_every_gpu_target_says_so():
    assert [target.name for target in list_targets() if target.gpu] == GPUS


def test_every_number_of_the_processor_has_a_range(tmp_path):
    for field in fields(Cpu):
        text = re.sub(rf"^{field.name} = .*\n", "", BOARD, flags=re.M) + f"{field.name} = -1\n"
        with pytest.raises(UsageError, match=f"cpu.{field.name}: expected"):
            load_target(board(tmp_path, text))


def test_unknown_name_lists_the_known_and_the_closest():
    with pytest.raises(
        UsageError, match=r"Did you mean 'rasp4'\? Known: adreno-660, adreno-740, a"
    ):
        load_target("raps4")
    with pytest.raises(UsageError, match=r"nowhere\.toml: cannot read"):
        load_target("./nowhere.toml")


def test_detected_values_give_way_to_the_files(tmp_path):
    text = 'name = "box"\ndescription = "d"\ndetect = true\n[cpu]\ncores = 7\n'
    target = load_target(board(tmp_path, text))
    assert target.native
    assert target.cpu.cores == 7
    assert target.cpu.vector_bits == load_target("host").cpu.vector_bits


LEVEL_2 = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
LEVEL_3 = LEVEL_2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def test_x86_levels():
    assert host.x86_level(set()) == 1
    assert host.x86_level(LEVEL_2) == 2
    assert host.x86_level(LEVEL_3) == 3
    assert host.x86_level(LEVEL_3 | AVX512) == 4
    assert host.x86_level((LEVEL_3 | AVX512) - {"fma"}) == 2  # a level needs the ones below


@pytest.mark.parametrize(
    ("machine", "flags", "native"),
    [
        ("x86_64", LEVEL_3, {"host"}),
        ("aarch64", {"asimd"}, {"host", "rasp3", "rasp4", "android-arm64"}),
        (
            "aarch64",
            {"asimd", "atomics", "asimdrdm", "asimdhp", "asimddp"},
            {"host", "rasp3", "rasp4", "rasp5", "android-arm64"},
        ),
    ],
)
def test_native_follows_machine_and_features(monkeypatch, machine, flags, native):
    monkeypatch.setattr(host.platform, "machine", lambda: machine)
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset(flags))
    assert {target.name for target in list_targets() if target.native and not target.gpu} == native


def test_a_linux_board_runs_its_gpu_targets_but_no_phones(monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "aarch64")
    flags = {"asimd", "atomics", "asimdrdm", "asimdhp", "asimddp"}
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset(flags))
    native = {target.name for target in list_targets() if target.gpu and target.native}
    assert native == {"mali-g52", "mali-g610", "videocore-7"}


def test_a_32_bit_machine_runs_rasp2_and_is_no_host(monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "armv7l")
    assert load_target("rasp2").native
    with pytest.raises(UsageError, match="x86-64 and aarch64"):
        load_target("host")


def test_the_emulators_know_the_processors():
    emulators = {t.emulator for t in list_targets() if t.emulator}
    assert len(emulators) == 4
    programs = itertools.groupby(sorted(emulators, key=lambda e: e.program), lambda e: e.program)
    for program, group in programs:
        known = subprocess.run(
            [program, "-cpu", "help"], capture_output=True, text=True, check=False
        ).stdout
        assert {emulator.cpu for emulator in group} <= set(known.split())
