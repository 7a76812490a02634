"""The Python API: compile, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.artifact import Artifact
from edgeconv.errors import ToolchainError, UsageError
from edgeconv.precision import Precision
from edgeconv.target import Target, load_target
from edgeconv.traffic import TRAFFIC

if TYPE_CHECKING:
    import torch

    from edgeconv.exporter import Exported

Progress = Callable[[str, int, int], None]
GoldenInputs = Sequence[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]


def export(
    model: str | Path | torch.nn.Module,
    example_inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    golden_inputs: GoldenInputs | None = None,
    allow_pickle: bool = False,
    arch: str | None = None,
) -> Exported:
    """Turn a model into checked ONNX with golden inputs and outputs.

    Args:
        model: a module, a model file, or a zoo name such as "zoo:mobilenet_v2".
        example_inputs: arrays or tensors, by name or in order; needed for a module.
        input_shapes: shape by input name, where the model leaves it open.
        golden_inputs: one mapping of arrays by input name for each golden case, in order or by
            label; seeded without.
        allow_pickle: consent to run code that is stored in the model file, such as a pickled
            module's. Without it, a file whose loading could run code is refused.
        arch: zoo network, "NAME" or "NAME/VARIANT", that a file of bare weights belongs to.

    Raises:
        UsageError: an argument does not fit the model.
        UnsupportedModelError: the model cannot be read or exported.
        NumericError: the exported model does not compute what the original does.
    """
    _require_compiler()
    from edgeconv.exporter import export as export_source
    from edgeconv.exporter import remember
    from edgeconv.frontend import load_source

    source = load_source(
        model,
        input_shapes=input_shapes,
        example_inputs=example_inputs,
        allow_pickle=allow_pickle,
        arch=arch,
    )
    exported = export_source(source, golden_inputs=golden_inputs)
    remember(exported)
    return exported


def compile(
    model: str | Path | torch.nn.Module,
    example_inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    target: str | Target = "host",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    golden_inputs: GoldenInputs | None = None,
    precision: str = "fp32",
    half_arithmetic: bool = False,
    winograd: bool = True,
    traffic: float = TRAFFIC,
    threads: int = 1,
    emit: str = "bundle",
    dump: str | Path | None = None,
    progress: Progress | None = None,
    allow_pickle: bool = False,
    arch: str | None = None,
) -> Artifact:
    """Compile a model for a target.

    Args:
        model: a module, a model file, or a zoo name such as "zoo:mobilenet_v2".
        example_inputs: arrays or tensors, by name or in order; needed for a module.
        target: a target's name, a target file, or a `Target`.
        input_shapes: shape by input name, where the model leaves it open.
        golden_inputs: one mapping of arrays by input name for each golden case, in order or by
            label; seeded without.
        precision: how tensors between kernels, and weights, are stored on a GPU: "fp32", "fp16", or
            "mixed", in which what half precision cannot hold well stays in single.
        half_arithmetic: whether convolutions and products also calculate in half precision, which
            takes `cl_khr_fp16`; else all arithmetic is in single.
        winograd: whether 3x3 convolutions may take Winograd's algorithm, where it is faster and its
            rounding stays within the tolerance; its weights take up to four times the memory.
        traffic: bytes that a GPU's kernels may move through memory for that, as times of what a
            network's convolutions have to: `inf` for the fastest network by the model.
        threads: number of threads that the artifact runs with unless told otherwise.
        emit: "bundle", "lib", "static" or "exe".
        dump: folder for every stage's result.
        progress: called with (stage, done, total).
        allow_pickle: consent to run code that is stored in the model file, such as a pickled
            module's. Without it, a file whose loading could run code is refused.
        arch: zoo network, "NAME" or "NAME/VARIANT", that a file of bare weights belongs to.

    Raises:
        UsageError: an argument does not fit.
        UnsupportedModelError: the model cannot be read, or holds what is not supported.
        ToolchainError: the compiler is not installed, or a tool failed.
    """
    if threads < 1:
        raise UsageError(f"threads={threads}: must be 1 or more")
    if not traffic >= 1:  # NaN is not
        raise UsageError(f"traffic={traffic}: must be 1 or more, or inf")
    board = load_target(target) if isinstance(target, str) else target
    storage = _choice(precision, "precision", Precision)
    if storage is not Precision.FP32 and board.gpu is None:
        raise UsageError(
            f"precision {precision}: target {board.name!r} is a CPU, which computes in fp32 only; "
            "half precision is for GPUs (`edgeconv targets`)."
        )
    if half_arithmetic:
        _check_half_arithmetic(board, storage)
    report = progress or (lambda stage, done, total: None)
    from edgeconv.compiler.link import Emit, c_libraries

    products = _choice(emit, "emit", Emit)
    with c_libraries(board, products):
        report("export", 0, 1)
        exported = export(
            model,
            example_inputs,
            input_shapes=input_shapes,
            golden_inputs=golden_inputs,
            allow_pickle=allow_pickle,
            arch=arch,
        )
    report("export", 1, 1)
    from edgeconv.compiler.pipeline import compile_exported

    return compile_exported(
        exported,
        board,
        precision=storage,
        half_arithmetic=half_arithmetic,
        winograd=winograd,
        traffic=traffic,
        threads=threads,
        emit=products,
        dump=None if dump is None else Path(dump),
        progress=progress,
    )


def _check_half_arithmetic(board: Target, storage: Precision) -> None:
    if board.gpu is None:
        raise UsageError(
            f"half arithmetic: target {board.name!r} is a CPU, which computes in fp32 only."
        )
    if not board.gpu.half_arithmetic:
        raise UsageError(
            f"half arithmetic: the driver of target {board.name!r} is not known to have "
            "cl_khr_fp16; where it has, say so in a target file of your own (gpu.half_arithmetic)."
        )
    if storage is Precision.FP32:
        raise UsageError(
            "half arithmetic is for what is stored in half precision: precision fp16 or mixed."
        )


def _choice(name: str, what: str, kinds: Any) -> Any:
    try:
        return kinds(name)
    except ValueError:
        known = ", ".join(kind.value for kind in kinds)
        raise UsageError(f"{what}={name!r}: must be one of {known}") from None


def _require_compiler() -> None:
    """Say what to install where the compiler's packages are missing."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "onnxruntime", "tvm") if find_spec(name) is None]
    if missing:
        raise ToolchainError(
            f"the compiler's packages are not installed ({', '.join(missing)} missing): "
            "pip install 'edgeconv[compiler]'"
        )
