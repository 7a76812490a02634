"""Proves that loading a `.pt2` runs no code from it.

`torch.export.load` unpickles some members, falls back to the unsafe unpickler for sample inputs,
evaluates symbolic expressions, and generates Python from names in the program. So every member
and every string is checked against what `torch.export.save` writes for ordinary networks.
"""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import Any

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend import archive
from edgeconv.frontend.operators import computes_only
from edgeconv.frontend.storages import check_storages

_PICKLE = "data.pkl"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+"
)
_JSON = re.compile(r"models/model\.json|data/(weights|constants)/model_\w+_config\.json")

# Where it is no identifier, PyTorch quotes a part of a name; a hyphen calls nothing anywhere.
_NAME = re.compile(r"[\w.-]*")
_TARGET = re.compile(
    r"torch\.sym_\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.\w+"
)
_OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)\.\w+")
_EXPRESSION = re.compile(r"(?:'[a-z]+\d+'|[A-Za-z]+\w*|\d+|[-+*/(),=<> ])*")
_EXPRESSION_WORD = re.compile(
    r"Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv"
    r"|IntTrueDiv|TruncToInt|FloorToInt|CeilToInt|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|int_oo"
    r"|StrictGreaterThan|StrictLessThan|GreaterThan|LessThan|Equality|Unequality"
    r"|True|False|true|false|positive|nonnegative|integer|[suz]\w?\d+"
)
_LARGEST_EXPONENT, _MOST_POWERS = 3, 8
_TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
# Text for people: PyTorch neither evaluates it nor puts it in generated code.
_FREE_TEXT = frozenset(["as_string", "nn_module_stack", "torch_version"])


def checked_archive(path: Path) -> bytes:
    """Return an archive of the checked members of a `.pt2`, for `torch.export.load`.

    Raises:
        UnsupportedModelError: a member or a string in it could run code, or the file is damaged.
    """
    found = archive.members(path.read_bytes(), str(path))
    return archive.pack({name: _checked(path, name, data) for name, data in found.items()})


def _checked(path: Path, name: str, data: bytes) -> bytes:
    if _PLAIN.fullmatch(name):
        return data
    if name == _SAMPLE_INPUTS:
        _check_tensors_only(path, name, data)
        return data
    if _JSON.fullmatch(name):
        try:
            document = json.loads(data)
            _check(document, "", f"{path}: {name}")
        except (ValueError, SyntaxError, RecursionError) as error:
            raise UnsupportedModelError(f"{path}: {name} is damaged: {error}") from error
        return json.dumps(document).encode()
    raise archive.refusal(f"{path}: member {name}")


def _check_tensors_only(path: Path, name: str, data: bytes) -> None:
    import torch

    where = f"{path}: {name}"
    found = archive.members(data, where)
    if _PICKLE not in found:
        raise UnsupportedModelError(f"{where} is no file of torch.save; export the network again")
    check_storages(where, found, _PICKLE)
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise archive.refusal(f"{path}: the pickle {name}, which is not only tensors,") from error


def _check(value: Any, key: str, where: str) -> None:
    """Check every string below `value`, which stands under `key`; drop what is not needed."""
    if isinstance(value, dict):
        if value.get("use_pickle"):
            raise archive.refusal(f"{where}: a pickled payload")
        # Guards restate, as Python source, what the shapes say.
        value.pop("guards_code", None)
        if isinstance(value.get("metadata"), dict):
            kept = value["metadata"].get("nn_module_stack")
            value["metadata"] = {} if kept is None else {"nn_module_stack": str(kept)}
        for name, item in value.items():
            _check_string(name, "name", where)
            _check(item, name, where)
    elif isinstance(value, list):
        for item in value:
            _check(item, key, where)
    elif isinstance(value, str):
        _check_string(value, key, where)


def _check_string(text: str, key: str, where: str) -> None:
    if key in _FREE_TEXT:
        return
    if key == "target" and text.startswith(("torch", "_operator", "math", "#")):
        operator = _OPERATOR.fullmatch(text)
        harmless = (
            computes_only(operator[1], operator[2])
            if operator
            else _TARGET.fullmatch(text) is not None
        )
    elif key == "expr_str":
        words = re.findall(r"(?<!')\b[A-Za-z]\w*", text)
        harmless = (
            _EXPRESSION.fullmatch(text) is not None
            and all(_EXPRESSION_WORD.fullmatch(word) for word in words)
            and _has_small_powers(text)
        )
    elif key in {"in_spec", "out_spec"}:
        harmless = _is_plain_tree(json.loads(text))
    else:
        harmless = _NAME.fullmatch(text) is not None
    if not harmless:
        raise archive.refusal(f"{where}: {key} {text[:60]!r}")


def _has_small_powers(expression: str) -> bool:
    """Tell whether the powers have small constant exponents; others take all time and memory."""
    nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    powers = [
        node
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Pow" and len(node.args) == 2
    ]
    exponents = [re.fullmatch(r"Integer\(-?(\d)\)", ast.unparse(node.args[1])) for node in powers]
    return (
        len(powers) == expression.count("Pow") <= _MOST_POWERS
        and not any(isinstance(node, ast.Pow) for node in nodes)
        and all(exponent and int(exponent[1]) <= _LARGEST_EXPONENT for exponent in exponents)
    )


def _is_plain_tree(spec: Any) -> bool:
    """Tell whether a serialised tree has only tuples, lists, dicts and leaves."""
    if isinstance(spec, list):
        return all(_is_plain_tree(item) for item in spec)
    if isinstance(spec, dict):
        context = json.loads(spec.get("context") or "null")
        keys = context if isinstance(context, list) else [context or ""]
        return (
            spec.get("type") in _TREE_TYPES
            and all(isinstance(key, str) and _NAME.fullmatch(key) for key in keys)
            and _is_plain_tree(spec.get("children_spec", []))
        )
    return isinstance(spec, int)
