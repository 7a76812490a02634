"""Example inputs: from the arrays or the shapes that the user gives, or drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UnsupportedModelError, UsageError

Array = npt.NDArray[Any]

LARGEST_TENSOR_ELEMENTS = 1 << 28
"""Most elements of one tensor: a GiB of float32, beyond any network for the targets."""


@dataclass(frozen=True)
class InputSpec:
    """What a program says about one of its inputs.

    Attributes:
        name: unique among the program's inputs.
        dtype: NumPy dtype.
        shape: size of each dimension, None for an open one; None where the rank is open too.
        default: shape to use where the user gives none; None where there is no such shape.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None
    default: tuple[int, ...] | None = None

    def accepts(self, shape: Sequence[int]) -> bool:
        """Tell whether an array of this shape fits."""
        if self.shape is None:
            return True
        pairs = zip(self.shape, shape, strict=False)
        return len(self.shape) == len(shape) and all(want in (None, got) for want, got in pairs)

    def __str__(self) -> str:
        """Return the name and shape for messages, such as "image=(?,3,224,224)"."""
        if self.shape is None:
            return f"{self.name}=(...)"
        sizes = ",".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}=({sizes})"


@dataclass(frozen=True)
class Request:
    """What the user says about the inputs, and about the file.

    Attributes:
        shapes: shape by input name.
        examples: arrays or tensors, by name or in order; None where none were given.
        seed: of the drawn arrays.
        allow_pickle: whether code in the file may run.
        arch: zoo network, "NAME" or "NAME/VARIANT", that bare weights belong to.
    """

    shapes: Mapping[str, tuple[int, ...]]
    examples: Mapping[str, Any] | Sequence[Any] | None
    seed: int
    allow_pickle: bool = False
    arch: str | None = None

    def gives(self, name: str, position: int) -> bool:
        """Tell whether there is a shape or an example for the input of that name and place."""
        given = self.shapes if self.examples is None else self.examples
        return name in given if isinstance(given, Mapping) else position < len(given)

    def resolve(self, specs: Sequence[InputSpec], origin: str) -> dict[str, Array]:
        """Return one array per spec, in their order.

        Raises:
            UsageError: a name or shape does not fit, or an open shape was not given.
            UnsupportedModelError: an example is of a type that NumPy does not have.
        """
        _refuse_unknown(self.shapes, specs, origin)
        if self.examples is not None:
            return _check_examples(_by_name(self.examples, specs, origin), specs, origin)
        shapes = {spec.name: self._shape(spec) for spec in specs}
        missing = [str(spec) for spec in specs if shapes[spec.name] is None]
        if missing:
            raise UsageError(
                f"{origin}: these inputs have open shapes: {', '.join(missing)}; fix each, "
                "for example --input-shape NAME=1,3,224,224"
            )
        for spec in specs:
            shape = shapes[spec.name]
            if shape is not None and (not spec.accepts(shape) or min(shape, default=1) < 1):
                raise UsageError(f"{origin}: input {spec} cannot have the shape {shape}")
            if shape is not None and math.prod(shape) > LARGEST_TENSOR_ELEMENTS:
                raise UsageError(
                    f"{origin}: input {spec.name} has the shape {shape}; edgeconv takes tensors of "
                    f"up to {LARGEST_TENSOR_ELEMENTS:,} elements"
                )
        kinds = {s.name: (shapes[s.name] or (), s.dtype) for s in specs}
        return _draw(kinds, self.seed)

    def _shape(self, spec: InputSpec) -> tuple[int, ...] | None:
        if spec.name in self.shapes:
            return tuple(self.shapes[spec.name])
        if spec.default is not None:
            return spec.default
        if spec.shape is None or None in spec.shape:
            return None
        return tuple(size for size in spec.shape if size is not None)


def supported_dtype(kind: object, name: str, origin: str) -> np.dtype[Any]:
    """Return the dtype that NumPy or PyTorch calls `kind`, of the input `name`.

    Raises:
        UnsupportedModelError: it is none of NumPy's own floating point, integer or boolean types.
    """
    try:
        dtype = np.dtype(str(kind).removeprefix("torch."))
    except TypeError:
        # Unless some package has added it, NumPy knows no bfloat16.
        dtype = np.dtype(np.void)
    if dtype.kind not in "fiub":
        raise UnsupportedModelError(
            f"{origin}: input {name} is {kind}; edgeconv takes the floating point, integer and "
            "boolean types of NumPy: convert the network, in PyTorch by module.float()"
        )
    return dtype


def draw_inputs(like: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Draw arrays with the shapes and dtypes of `like`; equal seeds give equal bits.

    Floating point values are standard normal; integers and booleans are 0 or 1, which fit most
    meanings that an integer input can have. A single one is both in turns, by seed: a network that
    is multiplied by 0 in all cases would be compared by nothing.
    """
    return _draw({name: (array.shape, array.dtype) for name, array in like.items()}, seed)


def _draw(
    kinds: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], seed: int
) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.standard_normal(shape).astype(dtype)
            if np.issubdtype(dtype, np.floating)
            else _bits(rng, shape, seed).astype(dtype)
        )
        for name, (shape, dtype) in kinds.items()
    }


def _bits(rng: np.random.Generator, shape: tuple[int, ...], seed: int) -> Array:
    return np.full(shape, 1 - seed % 2) if math.prod(shape) == 1 else rng.integers(0, 2, shape)


def _refuse_unknown(names: Iterable[str], specs: Sequence[InputSpec], origin: str) -> None:
    known = [spec.name for spec in specs]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(
            f"{origin}: no input is called {', '.join(unknown)}; the inputs are {', '.join(known)}"
        )


def _by_name(
    examples: Mapping[str, Any] | Sequence[Any], specs: Sequence[InputSpec], origin: str
) -> dict[str, Any]:
    if isinstance(examples, Mapping):
        _refuse_unknown(examples, specs, origin)
        missing = [spec.name for spec in specs if spec.name not in examples]
        if missing:
            raise UsageError(f"{origin}: no example was given for input {', '.join(missing)}")
        return {spec.name: examples[spec.name] for spec in specs}
    if len(examples) != len(specs):
        names = ", ".join(spec.name for spec in specs)
        raise UsageError(f"{origin}: {len(examples)} examples for {len(specs)} inputs ({names})")
    return {spec.name: value for spec, value in zip(specs, examples, strict=True)}


def _check_examples(
    examples: Mapping[str, Any], specs: Sequence[InputSpec], origin: str
) -> dict[str, Array]:
    arrays = {name: _to_array(value, name, origin) for name, value in examples.items()}
    for spec in specs:
        array = arrays[spec.name]
        if not spec.accepts(array.shape):
            raise UsageError(f"{origin}: input {spec} cannot have the shape {array.shape}")
        if array.size == 0:
            raise UsageError(
                f"{origin}: the example for input {spec.name} has the shape {array.shape}, which "
                "holds no elements; every dimension must be 1 or more"
            )
        # A module's parameters have no dtype of their own, so there any will do.
        if spec.shape is not None and array.dtype != spec.dtype:
            raise UsageError(
                f"{origin}: input {spec.name} is {spec.dtype}, the example is {array.dtype}"
            )
    return arrays


def _to_array(value: Any, name: str, origin: str) -> Array:
    """Copy a tensor or array-like to NumPy, so that later changes by its owner do no harm."""
    if hasattr(value, "detach"):
        supported_dtype(value.dtype, name, origin)
        value = value.detach().cpu().numpy()
    array = np.array(value)
    supported_dtype(array.dtype, name, origin)
    return array
