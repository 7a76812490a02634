"""Writes a plan as the C tables that the runtime walks (`edgeconv/runtime/src/program.h`)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.plan import Backend, Buffer, Plan, Space, Step, Tensor

_SPACES = {
    Space.ARENA: "EC_ARENA",
    Space.WEIGHTS: "EC_WEIGHTS",
    Space.INPUT: "EC_INPUT",
    Space.OUTPUT: "EC_OUTPUT",
}
_IMAGES = {"float32": "EC_FLOAT_IMAGE", "float16": "EC_HALF_IMAGE"}
_BACKENDS = {Backend.CPU: "EC_BACKEND_CPU", Backend.OPENCL: "EC_BACKEND_OPENCL"}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def c_identifier(name: str) -> str:
    """Return `name` with every character that a C identifier does not take replaced by "_"."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def program_source(
    plan: Plan,
    *,
    model: str,
    target: str,
    weights_sha256: bytes,
    golden_cases: int,
    opencl_sources: Sequence[str] = (),
    half_arithmetic: bool = False,
) -> str:
    """Return a C file that defines the function `EC_ENTRY` (a macro): `const ec_program *(void)`.

    Equal arguments give equal text. Raises EdgeconvError where a kernel's symbol is no C
    identifier, or steps disagree about its number of arguments.
    """
    identity: dict[str, str | int] = {
        "model": _string(model),
        "target": _string(target),
        "golden_cases": golden_cases,
        "weights_sha256": _bytes(weights_sha256),
        "opencl_sha256": _bytes(hashlib.sha256("".join(opencl_sources).encode()).digest()),
        "opencl_source_count": len(opencl_sources),
        "half_arithmetic": int(half_arithmetic),
    }
    kernels: dict[str, int] = {}
    for step in plan.steps:
        if step.backend is not Backend.CPU:
            continue
        arguments = len(step.inputs) + len(step.outputs)
        if kernels.setdefault(step.kernel, arguments) != arguments:
            raise EdgeconvError(f"kernel {step.kernel!r} is called with different argument counts")
    sections = [
        '#include <stddef.h>\n\n#include "program.h"\n\nconst ec_program *EC_ENTRY(void);',
        "\n".join(_declaration(symbol, kernels[symbol]) for symbol in sorted(kernels)),
        *(
            _trampoline(index, step)
            for index, step in enumerate(plan.steps)
            if step.backend is Backend.CPU
        ),
        _tensors("inputs", plan.inputs),
        _tensors("outputs", plan.outputs),
        _table("ec_buffer", "buffers", map(_buffer, plan.buffers)),
        _steps(plan),
        _table("char *const", "opencl_sources", map(_string, opencl_sources)),
        _program(plan, identity),
        "const ec_program *EC_ENTRY(void)\n{\n    return &program;\n}\n",
    ]
    return "\n\n".join(section for section in sections if section)


def _declaration(symbol: str, arguments: int) -> str:
    if not _IDENTIFIER.fullmatch(symbol):
        raise EdgeconvError(f"kernel symbol {symbol!r} is not a C identifier")
    return f"int32_t {symbol}({', '.join(['void *'] * arguments)});"


def _trampoline(index: int, step: Step) -> str:
    arguments = ", ".join(f"b[{buffer}]" for buffer in (*step.inputs, *step.outputs))
    return (
        f"static int32_t call_{index}(void *const *b)\n"
        f"{{\n    return {step.kernel}({arguments});\n}}"
    )


def _table(kind: str, name: str, rows: Iterable[str]) -> str:
    """Return an array, or a null pointer for no rows, which C has no empty array for."""
    lines = [f"    {row},\n" for row in rows]
    if not lines:
        return f"static const {kind} *const {name} = NULL;"
    return f"static const {kind} {name}[] = {{\n{''.join(lines)}}};"


def _tensors(name: str, tensors: Sequence[Tensor]) -> str:
    shapes = [
        _table("int64_t", f"{name}_{index}_shape", [", ".join(f"{n}" for n in tensor.shape)])
        for index, tensor in enumerate(tensors)
        if tensor.shape
    ]
    rows = []
    for index, tensor in enumerate(tensors):
        element_bytes = np.dtype(tensor.dtype).itemsize
        shape = f"{name}_{index}_shape" if tensor.shape else "NULL"
        rows.append(
            f"{{{_string(tensor.name)}, {_string(tensor.dtype)}, {shape}, {len(tensor.shape)}, "
            f"{element_bytes}, {element_bytes * math.prod(tensor.shape)}u, {tensor.tolerance!r}}}"
        )
    return "\n\n".join([*shapes, _table("ec_tensor_info", name, rows)])


def _buffer(buffer: Buffer) -> str:
    return f"{{{_SPACES[buffer.space]}, {buffer.index}, {buffer.offset}u, {buffer.bytes}u}}"


def _steps(plan: Plan) -> str:
    steps = plan.steps
    operands = [
        _table(
            "uint32_t",
            f"step_{index}_operands",
            [", ".join(f"{n}" for n in (*step.inputs, *step.outputs))],
        )
        for index, step in enumerate(steps)
    ]
    bindings = [
        _table("ec_binding", f"step_{index}_bindings", [", ".join(_bindings(step, plan))])
        for index, step in enumerate(steps)
        if step.images
    ]
    rows = [_step(index, step) for index, step in enumerate(steps)]
    return "\n\n".join([*operands, *bindings, _table("ec_step", "steps", rows)])


def _bindings(step: Step, plan: Plan) -> list[str]:
    return [
        _IMAGES[plan.buffers[buffer].dtype] if position in step.images else "EC_POINTER"
        for position, buffer in enumerate((*step.inputs, *step.outputs))
    ]


def _step(index: int, step: Step) -> str:
    kernel, sizes = "NULL", ["{0}", "{0}"]
    if step.ndrange is not None:
        kernel = _string(step.kernel)
        both = (step.ndrange.global_size, step.ndrange.local_size)
        sizes = [f"{{{', '.join(map(str, size))}}}" for size in both]
    call = f"call_{index}" if step.backend is Backend.CPU else "NULL"
    fields = [
        *(_string(step.name), _string(step.family), _BACKENDS[step.backend]),
        *(call, kernel, *sizes, f"{len(step.inputs)}", f"{len(step.outputs)}"),
        *(f"step_{index}_operands", f"step_{index}_bindings" if step.images else "NULL"),
        f"{step.macs}u",
    ]
    return f"{{{', '.join(fields)}}}"


def _program(plan: Plan, known: Mapping[str, str | int]) -> str:
    fields = {
        "api_version": "EDGECONV_API_VERSION",
        "input_count": len(plan.inputs),
        "output_count": len(plan.outputs),
        "buffer_count": len(plan.buffers),
        "step_count": len(plan.steps),
        "inputs": "inputs",
        "outputs": "outputs",
        "buffers": "buffers",
        "steps": "steps",
        "opencl_sources": "opencl_sources",
        "arena_bytes": f"{plan.arena_bytes}u",
        "scratch_bytes": f"{plan.scratch_bytes}u",
        "weights_bytes": f"{plan.weights_bytes}u",
        **known,
    }
    lines = "".join(f"    .{name} = {value},\n" for name, value in fields.items())
    return f"static const ec_program program = {{\n{lines}}};"


def _bytes(data: bytes) -> str:
    return f"{{{', '.join(map(str, data))}}}"


def _string(text: str) -> str:
    """Return a C string literal in ASCII; other bytes of its UTF-8 become octal escapes."""
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{escaped}"'
