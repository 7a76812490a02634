"""Checks that a pickle of tensors takes no more bytes than its archive holds.

PyTorch's C++ unpickler believes the sizes that the pickle states, and then reads beyond the data.
So the pickle is read once here, by an unpickler for which every class and function is an inert
stand-in, and the storages that it names are compared with the archive's members.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator, Mapping
from typing import Any

from edgeconv.errors import UnsupportedModelError
from edgeconv.frontend.quiet import quiet


def check_storages(where: str, members: Mapping[str, bytes], name: str) -> None:
    """Check the storages that the pickle `name` of an archive takes; no code runs.

    Args:
        where: the archive's place, for messages.
        members: the archive's members, by name.
        name: the pickle's, such as "data.pkl", whose storages are "data/KEY".

    Raises:
        UnsupportedModelError: the pickle is damaged, or a storage is missing or too short.
    """
    data, folder = members[name], f"{name.removesuffix('.pkl')}/"
    sizes = {
        member.removeprefix(folder): len(content)
        for member, content in members.items()
        if member.startswith(folder)
    }
    where = f"{where}: {name}"
    try:
        _refuse_large_memos(data)
        named = _Reader(data).read_storages()
        with quiet():  # PyTorch's own classes of storages call themselves deprecated
            problem = next(_problems(named, sizes), None)
    except Exception as error:
        # What an unpickler raises depends on what is wrong with the data.
        raise UnsupportedModelError(f"{where} is damaged: {error}; save it again") from error
    if problem is not None:
        raise UnsupportedModelError(f"{where} is damaged: {problem}; copy it or save it again")


def _refuse_large_memos(data: bytes) -> None:
    # An unpickler allocates its table of memos up to the largest number.
    for opcode, argument, _ in pickletools.genops(data):
        if "PUT" in opcode.name and (argument or 0) > len(data):
            raise ValueError(f"{opcode.name} {argument}")


class _Inert:
    """Stands for any class, function and object: takes every operation and does nothing."""

    def __new__(cls, *_arguments: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __call__(self, *_arguments: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def add(self, item: Any) -> None:
        pass


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._storages: list[Any] = []

    def read_storages(self) -> list[Any]:
        self.load()
        return self._storages

    def find_class(self, module: str, name: str) -> Any:
        return type(name.rpartition(".")[2], (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        self._storages.append(pid)
        return _Inert()


def _problems(storages: list[Any], sizes: Mapping[str, int]) -> Iterator[str]:
    import torch

    for kind_of_id, kind, key, _, count in storages:
        storage: Any = getattr(torch, kind.__name__, None)
        item = 1 if kind.__name__ == "UntypedStorage" else storage.dtype.itemsize
        if kind_of_id != "storage" or type(count) is not int or count < 0:
            yield f"{key!r} is no storage"
        elif key not in sizes:
            yield f"the tensor data {key!r} is missing"
        elif sizes[key] < count * item:
            yield f"the tensor data {key!r} has {sizes[key]} bytes, {count * item} are needed"
