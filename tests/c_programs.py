"""A small network of hand-written C kernels, for the runtime and the linking stage.

a, b (37, 19) -> t = a + b -> t * scale, `scales` times -> y = relu(t), positives = count(t > 0)
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from edgeconv.artifact import Artifact, Model, golden_entries, weights_entry
from edgeconv.compiler.link import Emit, link
from edgeconv.compiler.link.program_c import program_source
from edgeconv.compiler.link.runtime_objects import RUNTIME
from edgeconv.compiler.link.toolchain import zig
from edgeconv.plan import Buffer, Plan, Space, Step, Tensor
from edgeconv.target import Target, load_target

KERNELS = Path(__file__).parent / "runtime" / "kernels"
WARNINGS = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
SHAPE = (37, 19)
SCALE = np.linspace(0.5, 2, SHAPE[1], dtype=np.float32)
WEIGHTS = SCALE.tobytes() + bytes(64 - SCALE.nbytes % 64)
WEIGHTS_SHA256 = hashlib.sha256(WEIGHTS).digest()
TENSOR_BYTES = 4 * SHAPE[0] * SHAPE[1]
SLOT = -TENSOR_BYTES // 64 * -64
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FAILING = np.float32(-999)  # the first step fails when a[0, 0] is this


def plan(scales: int = 1, scratch_bytes: int = 256) -> Plan:
    def buffer(
        space: Space, index: int, offset: int, shape: tuple[int, ...], dtype: str = "float32"
    ) -> Buffer:
        size = 4 * int(np.prod(shape))
        return Buffer(space, index, offset, size, dtype, shape, shape)

    scale_steps = tuple(
        Step(
            f"scale_{i + 1}", "elementwise", "k_scale", (3 + i % 2, 2), (4 - i % 2,), 703, ("Mul",)
        )
        for i in range(scales)
    )
    last = 3 + scales % 2
    return Plan(
        inputs=(Tensor("a", SHAPE, "float32"), Tensor("b", SHAPE, "float32")),
        outputs=(Tensor("y", SHAPE, "float32", 1e-6), Tensor("positives", (1,), "int32")),
        buffers=(
            buffer(Space.INPUT, 0, 0, SHAPE),
            buffer(Space.INPUT, 1, 0, SHAPE),
            buffer(Space.WEIGHTS, 0, 0, SHAPE[1:]),
            buffer(Space.ARENA, 0, 0, SHAPE),
            buffer(Space.ARENA, 0, SLOT, SHAPE),
            buffer(Space.OUTPUT, 0, 0, SHAPE),
            buffer(Space.OUTPUT, 1, 0, (1,), "int32"),
        ),
        steps=(
            Step("add_0", "elementwise", "k_add", (0, 1), (3,), 0, ("Add",)),
            *scale_steps,
            Step(f"relu_{scales + 1}", "relu", "k_relu_count", (last,), (5, 6), 0, ("Relu", "Sum")),
        ),
        arena_bytes=2 * SLOT,
        arena_lower_bound=2 * SLOT,
        scratch_bytes=scratch_bytes,
        weights_bytes=len(WEIGHTS),
    )


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(SHAPE, np.float32) for name in ("a", "b")}


def outputs(a: np.ndarray, b: np.ndarray, scales: int = 1) -> dict[str, np.ndarray]:
    t = a + b
    for _ in range(scales):
        t = t * SCALE
    return {"y": np.maximum(t, 0), "positives": np.array([(t > 0).sum()], np.int32)}


def compile_kernels(target: Target) -> dict[str, bytes]:
    """The kernels' objects for a target, by symbol."""
    with tempfile.TemporaryDirectory() as folder:
        sources = map(str, KERNELS.glob("*.c"))
        compiler = zig(target.toolchain.runner, target.toolchain.cpu)
        compiler.compile_objects(sources, (*WARNINGS, "-O2", "-g0", "-fPIC"), Path(folder))
        return {path.stem: path.read_bytes() for path in Path(folder).glob("*.o")}


def linked(
    target: str | Target, emit: Emit, *, model: str = "net", scales: int = 1
) -> dict[str, bytes]:
    target = load_target(target) if isinstance(target, str) else target
    return link(
        plan(scales),
        model=model,
        target=target,
        kernels=compile_kernels(target),
        weights_sha256=WEIGHTS_SHA256,
        golden_cases=2,
        emit=emit,
    )


def data_entries(scales: int = 1) -> dict[str, bytes]:
    """The weights and two golden cases."""
    cases = [
        (list(case.values()), list(outputs(**case, scales=scales).values()))
        for case in (inputs(0), inputs(1))
    ]
    return {"weights.bin": weights_entry(WEIGHTS), **golden_entries(cases)}


def make_artifact(entries: dict[str, bytes]) -> Artifact:
    """The artifact of what `linked` made for the host."""
    return Artifact.assemble(
        plan=plan(),
        entries={**entries, **data_entries()},
        model=Model("net", "made by hand", "0" * 64, parameters=19, macs=703),
        target=load_target("host"),
        tools={},
        golden=["zero", "one"],
    )


def write_folder(folder: Path, entries: dict[str, bytes], scales: int = 1) -> Path:
    """Write linked entries with weights and golden cases, as they lie on a device."""
    for name, content in {**entries, **data_entries(scales)}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    return folder


def gcc(*arguments: str | Path) -> None:
    """Compile with this machine's compiler; a warning is an error."""
    result = run(["gcc", *WARNINGS, f"-I{RUNTIME}/include", f"-I{RUNTIME}/src", *arguments])
    assert result.returncode == 0, result.stderr


def write_program(path: Path, *, model: str = "net", scales: int = 1) -> Path:
    """Write the network's generated C source."""
    source = program_source(
        plan(scales), model=model, target="host", weights_sha256=WEIGHTS_SHA256, golden_cases=2
    )
    path.write_text(source)
    return path


def runtime_sources() -> list[Path]:
    """The library of a CPU's program, and the network's kernels."""
    source = RUNTIME / "src"
    return [*source.glob("*.c"), *source.glob("cpu_only/*.c"), *KERNELS.glob("*.c")]


def sanitized_runner(path: Path) -> Path:
    """Build the network's runner under gcc's sanitizers, at any fault of which it exits with 1."""
    source = write_program(path.with_suffix(".c"))
    runner = (RUNTIME / "src" / "runner").glob("*.c")
    sources = [*runtime_sources(), *runner, source]
    gcc(*SANITIZED, "-DEC_ENTRY=edgeconv_program", *sources, "-o", path, "-lm", "-pthread")
    return path


def run(command: list[str | Path], **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
