"""PyTorch operators in files: which a file may call, and loading those from outside PyTorch.

A file may call what only computes on tensors and scalars.
"""

from __future__ import annotations

import re
import zipfile

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.modelfile import ModelFile
from edgeconv.ops import translations

_NAMESPACES = frozenset(["aten", "prims", "edgeconv", "torchvision"])
# The rest of prim:: calls Python or other machines, or is written by optimisers for themselves.
_PRIM = re.compile(
    r"NumToTensor|RaiseException|IfThenElse|TupleIndex|TupleUnpack|StringIndex|ConstantChunk"
    r"|Print|abs|data|device|dtype|id|index|is_\w+|itemsize|layout|max|min|name|nbytes|rangelist"
    r"|requires_grad|tolist|type|unchecked_\w+"
)
# aten::save writes files and aten::from_file maps, and makes, them.
_TOUCH_FILES = frozenset(["save", "from_file"])
# Names with one underscore are PyTorch's internals, many of which trust their arguments' sizes.
# These are what exporting and scripting write for ordinary layers.
_INTERNAL = re.compile(
    r"_convolution(_mode)?|_adaptive_avg_pool[23]d|_(safe_|log_)?softmax|_native_batch_norm_legit\w*"
    r"|_upsample_\w+|_weight_norm|_prelu_kernel|_scaled_dot_product_\w*attention\w*|_pad_circular"
    r"|_unsafe_(view|index)|_to_copy|_cast_\w+|_assert_\w+|_shape_as_tensor|_stack|_set_item"
    r"|_native_multi_head_attention|_transformer_encoder_layer_fwd|_unique2?|_unwrap_optional|_infer_size|_get_tracing_state|_list_to_tensor|_tensor_to_list|_print"
)


def computes_only(namespace: str, name: str) -> bool:
    """Tell whether an operator, without its overload, neither does I/O nor trusts its arguments."""
    if namespace == "prim":
        return _PRIM.fullmatch(name) is not None
    if f"{namespace}::{name}" in translations():
        return True
    if namespace not in _NAMESPACES or name in _TOUCH_FILES:
        return False
    return not _is_internal(name) or _INTERNAL.fullmatch(name) is not None


def load_operators(file: ModelFile) -> None:
    """Make PyTorch know edgeconv's operators and, where the archive calls any, torchvision's.

    Raises:
        UnsupportedModelError: it calls torchvision's, and torchvision cannot be imported.
    """
    translations()
    if not _calls_torchvision(file):
        return
    import torch

    if hasattr(torch.ops.torchvision, "deform_conv2d"):
        return
    try:
        # For its operators, which importing it registers; it may be absent, and may be untyped.
        import torchvision  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except Exception as error:
        # Beside another build of torch it fails with an exception of torch's own.
        raise UnsupportedModelError(
            f"{file.path}: calls operators of torchvision, which cannot be imported here "
            f"({error}); install the torchvision that belongs to this torch"
        ) from error


def _calls_torchvision(file: ModelFile) -> bool:
    with zipfile.ZipFile(file.path) as archive:
        return any(
            b"ops.torchvision." in archive.read(name)
            for name in archive.namelist()
            if name.endswith((".py", "model.json"))
        )


def _is_internal(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
