"""Options and arguments that several commands share, and how their text is read."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeconv.cli import console
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.resources import resource_dir


def complete_target(incomplete: str) -> list[str]:
    """Return the names of targets that begin with `incomplete`."""
    names = sorted(path.stem for path in resource_dir("targets").glob("*.toml"))
    return [name for name in names if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Return the zoo names that begin with `incomplete`; other models are files."""
    from edgeconv.zoo import list_models

    names = [zoo_name(name, variant) for name, m in list_models().items() for variant in m.variants]
    return [name for name in names if name.startswith(incomplete)]


def complete_arch(incomplete: str) -> list[str]:
    """Return the zoo networks that begin with `incomplete`, as --arch takes them."""
    return [name.removeprefix("zoo:") for name in complete_model(f"zoo:{incomplete}")]


def zoo_name(name: str, variant: str) -> str:
    """Return a zoo network as commands take it."""
    return f"zoo:{name}" if variant == "full" else f"zoo:{name}/{variant}"


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=complete_model,
        help="A .onnx, .pt2 or TorchScript file, an edgeconv checkpoint, weights with --arch, or "
        "a zoo name such as zoo:mobilenet_v2 (see `edgeconv models`).",
    ),
]
ArtifactFile = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A .edge file.")]
DeviceName = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="local, emulator, opencl, ssh://[USER@]HOST[:PORT], adb or adb:SERIAL. "
        "Default: this machine where it can run the target, else the emulator, which for a GPU is "
        "opencl: the same kernels on this machine's driver.",
    ),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=1,3,224,224", help="Shape of an input that the model leaves open; repeatable."
    ),
]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Load MODEL even if that runs code stored in it, as a pickled module does. "
        "Only for files whose maker you trust.",
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[/VARIANT]",
        autocompletion=complete_arch,
        help="Zoo network that MODEL, a file of bare weights (a state dict), belongs to.",
    ),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Python file to run first, which registers operators of your own "
        "(docs/add-an-op.md); repeatable.",
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="TARGET",
        autocompletion=complete_target,
        help="A name of `edgeconv targets`, or a TOML file such as ./my-board.toml.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and warnings only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell more, and show where an error came from.")
]


def load_plugins(files: list[Path] | None) -> None:
    """Run Python files, as modules; raises UsageError where one is missing or fails."""
    for path in files or []:
        name = f"edgeconv_plugin_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise UsageError(f"--plugin {path}: no such Python file (.py)")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except EdgeconvError as error:
            raise type(error)(f"--plugin {path}: {error}") from error
        except Exception as error:
            # It is the user's code: it may raise anything.
            raise UsageError(f"--plugin {path} fails: {type(error).__name__}: {error}") from error


def warn_of_pickle(model: str, allow_pickle: bool) -> None:
    """Say on stderr what the consent to load any pickle means."""
    if allow_pickle:
        console.warn(f"--allow-pickle: code that is stored in {model} runs with your rights")


def parse_input_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Read `NAME=1,3,224,224` texts; raises UsageError on anything else or a repeated name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, separator, sizes = text.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not separator or not name or not shape or min(shape) < 1:
            raise UsageError(
                f"--input-shape {text!r}: expected NAME=SIZES with positive whole numbers, "
                "such as input=1,3,224,224"
            )
        if name in shapes:
            raise UsageError(f"--input-shape: input {name!r} is given twice")
        shapes[name] = shape
    return shapes
