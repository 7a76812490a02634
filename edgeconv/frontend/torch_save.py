"""Files of `torch.save`: an edgeconv checkpoint, bare weights, or a pickled module."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.frontend import archive, checkpoint, state_dict
from edgeconv.frontend.inputs import Request
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.frontend.module import module_source
from edgeconv.frontend.quiet import quiet
from edgeconv.frontend.source import Source
from edgeconv.frontend.storages import check_storages

_MAGIC = b"\x80"
_PICKLE = "data.pkl"
_WAY_OUT = (
    "export the network with torch.export.save(torch.export.export(module, inputs), 'net.pt2') "
    "or torch.onnx.export, and give that file"
)


def recognises(file: ModelFile) -> bool:
    """Tell whether `torch.save` wrote the file, as a zip or in the format before it."""
    return _PICKLE in file.members or file.head.startswith(_MAGIC)


def load(file: ModelFile, request: Request) -> Source:
    """Load what the file holds, without running code from it unless there is consent.

    Raises:
        UnsupportedModelError: the file is damaged, holds a module and there is no consent, or
            weights that do not fit or whose network is not known.
        UsageError: there is no zoo network of the given name, one was given for a file that
            says itself what it is, or a shape or example does not fit.
    """
    import torch

    data = _read(file, request)
    weights = state_dict.weights_in(data)
    if weights is not None:
        return state_dict.load(weights, file, request)
    if request.arch is not None:
        raise UsageError(
            f"--arch {request.arch}: {file.path} holds no bare weights; leave --arch out"
        )
    if isinstance(data, torch.nn.Module):
        return module_source(data, file.path.stem, file.name, request)
    if isinstance(data, Mapping) and "edgeconv" in data:
        return checkpoint.load(data, file, request)
    raise UnsupportedModelError(
        f"{file.path}: holds a {type(data).__name__}, neither a network nor its weights; {_WAY_OUT}"
    )


def _read(file: ModelFile, request: Request) -> Any:
    import torch

    checked = _checked(file)
    try:
        with quiet():
            return torch.load(io.BytesIO(checked), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not request.allow_pickle:
            raise UnsupportedModelError(
                f"{file.path}: a pickle of Python objects, such as a whole module; loading one "
                "runs code from the file, which edgeconv does not do without consent. In the "
                f"program that made it, {_WAY_OUT}; or, if you trust whoever made the file, give "
                "--allow-pickle (allow_pickle=True)"
            ) from error
    except Exception as error:
        # Damaged files fail in as many ways as the unpickler has steps.
        raise UnsupportedModelError(
            f"{file.path}: looks like torch.save's, but cannot be read ({error}); copy it again"
        ) from error
    try:
        with quiet():
            return torch.load(file.path, map_location="cpu", weights_only=False)
    except Exception as error:
        # The file's own code can raise anything.
        raise UnsupportedModelError(
            f"{file.path}: the pickle cannot be loaded ({type(error).__name__}: {error}); the "
            "module's class must be importable: put the folder of its source on PYTHONPATH"
        ) from error


def _checked(file: ModelFile) -> bytes:
    """Return what `torch.load` may read without consent: of a zip, an archive packed anew."""
    data = file.path.read_bytes()
    if _PICKLE not in file.members:
        return data
    found = archive.members(data, str(file.path))
    check_storages(str(file.path), found, _PICKLE)
    return archive.pack(found)
