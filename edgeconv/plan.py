"""The static execution plan: what the compiler hands to the linker and the runtime.

A plan is a straight line of steps over buffers. Every shape, offset and call is fixed, so that
a run walks one table. Nothing here needs torch or TVM; `plan.json` in an artifact is this plan.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import EllipsisType
from typing import Any, NamedTuple

# Buffers in arena and weights start at multiples of as many bytes; on a GPU they are sub-buffers,
# which drivers align by up to 512 bytes (CL_DEVICE_MEM_BASE_ADDR_ALIGN, NVIDIA's; most have 128).
CPU_ALIGNMENT = 64
GPU_ALIGNMENT = 512


class Space(enum.StrEnum):
    """Where a buffer's bytes live at run time."""

    ARENA = "arena"
    WEIGHTS = "weights"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True)
class Buffer:
    """One tensor in memory.

    Attributes:
        space: where it lives.
        index: the input's or output's position for `INPUT` and `OUTPUT`, else 0.
        offset: bytes from the start of its space; in arena and weights a multiple of 64, or of 512
            where a step on the GPU uses it.
        bytes: size, of the frame where it lies in one.
        dtype: NumPy name, such as "float32".
        shape: the shape in memory; for a blocked layout (N, ceil(C/block), *spatial, block).
        logical_shape: the shape the network means, such as (N, C, H, W).
        block: channels per block of an NCHWc layout; 0 for a plain row-major tensor.
        value: name of the ONNX value that it holds, or None for an internal tensor.
        frame: shape of the larger tensor that it is a box of, such as a padded one; () for none.
        begin: index in the frame of its first element.
    """

    space: Space
    index: int
    offset: int
    bytes: int
    dtype: str
    shape: tuple[int, ...]
    logical_shape: tuple[int, ...]
    block: int = 0
    value: str | None = None
    frame: tuple[int, ...] = ()
    begin: tuple[int, ...] = ()

    @property
    def memory_shape(self) -> tuple[int, ...]:
        """Return the shape of the bytes: the frame's, where there is one."""
        return self.frame or self.shape

    @property
    def box(self) -> tuple[slice | EllipsisType, ...]:
        """Return where in `memory_shape` the tensor lies."""
        begin = self.begin or (0,) * len(self.shape)
        sides = (slice(b, b + s) for b, s in zip(begin, self.shape, strict=True))
        # Of a tensor without axes, the dots make a part; without them it would be a number.
        return (*sides, ...)


class Backend(enum.StrEnum):
    """What computes a step."""

    CPU = "cpu"
    OPENCL = "opencl"


@dataclass(frozen=True)
class NDRange:
    """The work-items of an OpenCL kernel in three dimensions, of the whole and of one work-group.

    Each global size is a multiple of the local one.
    """

    global_size: tuple[int, int, int]
    local_size: tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """One kernel call.

    Attributes:
        name: readable, unique in the plan, such as "conv2d_3x3_relu6_4".
        family: kernel family, such as "conv2d", "depthwise", "pool", "elementwise".
        kernel: symbol `int32_t kernel(void *input..., void *output...)`, where 0 means success; or
            an OpenCL kernel whose arguments are the inputs and outputs: `__global` pointers, and
            for the inputs in `images` an `image1d_buffer_t` and an `int`, its first texel there.
        inputs: buffer indices, in the kernel's order.
        outputs: buffer indices, in the kernel's order, after the inputs.
            On CPUs one may lie where an input lies that no later step reads.
        in_place: indices of buffers that lie where it writes the last part of them, joined tensors
            and slices; they are no step's outputs.
        macs: multiply-accumulates of one call.
        layers: the ONNX nodes computed here, in order.
        backend: what computes it.
        ndrange: the work-items of an OpenCL kernel; None on the CPU.
        images: positions of the inputs that an OpenCL kernel reads as images, in texels of four
            elements of their type, float16 or float32. No output lies in their bytes.
        half_run: products that are summed in half precision before their sum is added to another in
            single; 0 where all arithmetic is in single.
        amplification: how many times as large the rounding errors of these sums come out of the
            layer; not 1 where transforms follow (Winograd).
        reason: why a step of a GPU's network is computed by the CPU; empty elsewhere.
    """

    name: str
    family: str
    kernel: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int
    layers: tuple[str, ...]
    backend: Backend = Backend.CPU
    ndrange: NDRange | None = None
    images: tuple[int, ...] = ()
    half_run: int = 0
    amplification: float = 1.0
    reason: str = ""
    in_place: tuple[int, ...] = ()

    @property
    def results(self) -> tuple[int, ...]:
        """The buffers that are complete once it has run: outputs, then those in place."""
        return (*self.outputs, *self.in_place)


class HalfRun(NamedTuple):
    """`Step.half_run` and `Step.amplification`."""

    products: int
    amplification: float


@dataclass(frozen=True)
class Tensor:
    """An input or output of the network: name, shape, NumPy dtype name.

    `tolerance` (outputs only): largest permitted |got - want| relative to max |want|.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A whole network, ready to be linked.

    Attributes:
        arena_bytes: size of the one block that all intermediate tensors share.
        arena_lower_bound: largest sum of bytes live at one step; no plan can be smaller.
        scratch_bytes: workspace of one thread inside kernels, the largest of all steps.
        weights_bytes: size of the packed weights, without the weight file's header.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    arena_bytes: int
    arena_lower_bound: int
    scratch_bytes: int
    weights_bytes: int

    @property
    def refused(self) -> dict[str, str]:
        """Why the CPU computes a step of a GPU's network, by the step's name."""
        return {step.name: step.reason for step in self.steps if step.reason}

    @property
    def half_runs(self) -> dict[str, HalfRun]:
        """The runs of the steps that calculate in half precision, by ONNX node."""
        return {
            layer: HalfRun(step.half_run, step.amplification)
            for step in self.steps
            if step.half_run
            for layer in step.layers
        }

    def with_tolerances(self, tolerances: Mapping[str, float]) -> Plan:
        """Return the plan with the tolerance of every output, by name."""
        outputs = (replace(output, tolerance=tolerances[output.name]) for output in self.outputs)
        return replace(self, outputs=tuple(outputs))

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists, as stored in `plan.json`."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`'s dict; raises KeyError or TypeError on foreign data."""

        def tensor(entry: dict[str, Any]) -> Tensor:
            return Tensor(**{**entry, "shape": tuple(entry["shape"])})

        def buffer(entry: dict[str, Any]) -> Buffer:
            return Buffer(
                **{
                    **entry,
                    "space": Space(entry["space"]),
                    "shape": tuple(entry["shape"]),
                    "logical_shape": tuple(entry["logical_shape"]),
                    "frame": tuple(entry["frame"]),
                    "begin": tuple(entry["begin"]),
                }
            )

        def ndrange(entry: dict[str, Any]) -> NDRange:
            return NDRange(tuple(entry["global_size"]), tuple(entry["local_size"]))

        def step(entry: dict[str, Any]) -> Step:
            return Step(
                **{
                    **entry,
                    "backend": Backend(entry["backend"]),
                    "ndrange": ndrange(entry["ndrange"]) if entry["ndrange"] else None,
                    "images": tuple(entry["images"]),
                    "inputs": tuple(entry["inputs"]),
                    "outputs": tuple(entry["outputs"]),
                    "layers": tuple(entry["layers"]),
                    "in_place": tuple(entry.get("in_place", ())),
                }
            )

        return Plan(
            **{
                **data,
                "inputs": tuple(map(tensor, data["inputs"])),
                "outputs": tuple(map(tensor, data["outputs"])),
                "buffers": tuple(map(buffer, data["buffers"])),
                "steps": tuple(map(step, data["steps"])),
            }
        )
