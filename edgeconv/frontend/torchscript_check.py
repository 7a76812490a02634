"""Proves that loading and running a TorchScript archive only computes.

What stands in such an archive, and what was looked at to decide:

- `code/**.py` is TorchScript: it cannot import or call Python, but operators can do I/O
  (`torch.save`, `torch.from_file`), custom classes (`torch.classes`) can load libraries, and
  `__setstate__` methods run while loading. So every name that the code can reach an operator or
  class by is checked, and PyTorch gets the code printed anew from the checked syntax tree.
- `data.pkl`, `constants.pkl` are read by PyTorch's C++ unpickler, which calls no Python: a class
  must be one of `code/` or a custom class, a function one of a fixed few. Every global is checked
  against those, and opcodes that name one in another way are refused.
- `data/N`, `constants/N`, `tensors/N` are raw tensors. Everything else (debug tables, the inputs
  of a trace, extra files) is left out.

What stays is the risk of any parser of binary data: an error in PyTorch's own C++ code. A crafted
program can also take all time and memory. Without consent that is the same as for ONNX files.
"""

from __future__ import annotations

import ast
import pickletools
import re
from pathlib import Path

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend import archive
from edgeconv.frontend.operators import computes_only
from edgeconv.frontend.storages import check_storages

_PLAIN = re.compile(
    r"version|byteorder|\.data/(version|serialization_id)|(data|constants|tensors)/\d+"
)
_PICKLES = frozenset(["data.pkl", "constants.pkl"])
_CODE = re.compile(r"code/[\w/]+\.py")

_GLOBAL = re.compile(
    r"__torch__(\.\w+)* ?[\w.]+|torch\.jit\._pickle \w+|torch\._utils _rebuild_tensor_v2"
    r"|torch \w+Storage|torch\.storage \w+Storage|torch (device|QScheme)|collections OrderedDict"
)
_OTHER_GLOBALS = frozenset(["STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX"])
# Names that stand for operators, classes, and namespaces of them.
_ROOTS = frozenset(["torch", "ops", "__torch__"])


def checked_archive(path: Path) -> bytes:
    """Return an archive of the checked members of a TorchScript file, for `torch.jit.load`.

    Raises:
        UnsupportedModelError: a member could do more than compute, or the file is damaged.
    """

    found = archive.members(path.read_bytes(), str(path))
    kept: dict[str, bytes] = {}
    for name, data in found.items():
        where = f"{path}: {name}"
        if _CODE.fullmatch(name):
            kept[name] = _checked_code(where, data)
        elif name in _PICKLES:
            _check_pickle(where, data)
            check_storages(str(path), found, name)
            kept[name] = data
        elif _PLAIN.fullmatch(name):
            kept[name] = data
    return archive.pack(kept)


def _check_pickle(where: str, data: bytes) -> None:
    try:
        opcodes = list(pickletools.genops(data))
    except Exception as error:
        # What pickletools raises depends on what is wrong with the data.
        raise UnsupportedModelError(f"{where} is damaged: {error}") from error
    for opcode, argument, _ in opcodes:
        if opcode.name in _OTHER_GLOBALS:
            raise archive.refusal(f"{where}: the opcode {opcode.name}")
        if opcode.name == "GLOBAL":
            dotted = str(argument).replace(" ", ".")
            if not _GLOBAL.fullmatch(str(argument)) or dotted.startswith("__torch__.torch.classes"):
                raise archive.refusal(f"{where}: {dotted[:80]!r}")


def _checked_code(where: str, data: bytes) -> bytes:
    try:
        tree = ast.parse(data.decode())
        _Names(where).visit(tree)
        return f"{ast.unparse(tree)}\n".encode()
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UnsupportedModelError(
            f"{where} is no TorchScript that can be checked: {error}"
        ) from error


class _Names(ast.NodeVisitor):
    """Refuses code by which an operator or class could be reached that does more than compute."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._internal = _internal_operators()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Check `torch.NAME`, `ops.NAMESPACE.NAME` whole, and methods, which are operators too."""
        path = _dotted(node)
        if path is None:
            self._check_method(node.attr)
            self.generic_visit(node)
            return
        harmless = True
        match path:
            case ["torch", name]:
                harmless = computes_only("aten", name)
            case ["ops", namespace, name]:
                harmless = computes_only(namespace, name)
            case ["__torch__", *names]:
                harmless = names[:2] != ["torch", "classes"] and len(names) > 0
            case [("torch" | "ops"), *_]:
                harmless = False
        if not harmless:
            raise archive.refusal(f"{self._where}: {'.'.join(path)}")
        for name in path[1:]:
            self._check_method(name)

    def visit_Name(self, node: ast.Name) -> None:
        """Refuse what could be given another name: a namespace, or `getattr`."""
        if node.id in _ROOTS or node.id == "getattr":
            raise archive.refusal(f"{self._where}: {node.id} as a value")

    def visit_Call(self, node: ast.Call) -> None:
        """Check the attribute that `getattr` names."""
        if not isinstance(node.func, ast.Name) or node.func.id != "getattr":
            self.generic_visit(node)
            return
        match node.args:
            case [owner, ast.Constant(value=str(name))] if not node.keywords:
                self._check_method(name)
                self.visit(owner)
            case _:
                raise archive.refusal(f"{self._where}: getattr of a computed name")

    def _check_method(self, name: str) -> None:
        known = not name.startswith("_") or name in self._internal
        if known and not computes_only("aten", name):
            raise archive.refusal(f"{self._where}: the name {name!r}")


def _dotted(node: ast.expr) -> list[str] | None:
    """Return the names of `a.b.c`; None for attributes of anything but a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        path = _dotted(node.value)
        return None if path is None else [*path, node.attr]
    return None


def _internal_operators() -> frozenset[str]:
    """Return the operators named like private attributes, which modules have as well."""
    import torch

    names = (schema.name.partition("::") for schema in torch._C._jit_get_all_schemas())
    return frozenset(
        name for namespace, _, name in names if namespace == "aten" and name.startswith("_")
    )
