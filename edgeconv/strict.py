"""Strict reading of dataclasses from JSON or TOML data: every key known, present and typed."""

from __future__ import annotations

import enum
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_WORDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


class MismatchError(ValueError):
    """Data that does not fit; the message names the key and what was expected there."""

    def __init__(self, path: str, message: str) -> None:
        """Take the dotted path of the key, such as "cpu.cores", and what is wrong with it."""
        super().__init__(f"{path or 'top level'}: {message}")


def read(kind: type[T], data: object, path: str = "") -> T:
    """Build a `kind` (a dataclass) from plain dicts and lists.

    Field types may be str, int, float, bool, string enums, dataclasses, `T | None`,
    `tuple[T, ...]`, `dict[str, T]`, `object` (anything). Fields with `init=False` or
    `metadata={"stored": False}` are no keys. Raises MismatchError.
    """
    value: T = _value(kind, data, path)
    return value


def _value(kind: Any, data: object, path: str) -> Any:
    if kind is object:
        return data
    if get_origin(kind) is not None:
        return _generic(kind, data, path)
    return _record(kind, data, path) if is_dataclass(kind) else _scalar(kind, data, path)


def _generic(kind: Any, data: object, path: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple:
        items = _expect(list | tuple, data, path, "a list")
        return tuple(_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        table = _expect(dict, data, path, "a table")
        return {str(key): _value(args[1], item, _join(path, key)) for key, item in table.items()}
    (inner,) = (arg for arg in args if arg is not type(None))  # T | None
    return None if data is None else _value(inner, data, path)


def _scalar(kind: Any, data: object, path: str) -> Any:
    if issubclass(kind, enum.StrEnum):
        if data not in list(kind):
            raise MismatchError(path, f"expected one of {', '.join(kind)}, found {data!r}")
        return kind(data)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:  # not isinstance: True is no integer here
        raise MismatchError(path, f"expected {_WORDS[kind]}, found {data!r}")
    return data


def _record(kind: Any, data: object, path: str) -> Any:
    table = _expect(dict, data, path, "a table")
    hints, known = _keys(kind)
    for key in table:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
            raise MismatchError(_join(path, key), f"unknown key; {hint}")
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            wanted = _WORDS.get(hints[name], "a value")
            raise MismatchError(_join(path, name), f"missing; expected {wanted}")
    return kind(**{key: _value(hints[key], item, _join(path, key)) for key, item in table.items()})


@cache
def _keys(kind: Any) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    """Return the types and the fields of a dataclass's keys."""
    known = {f.name: f for f in fields(kind) if f.init and f.metadata.get("stored", True)}
    return get_type_hints(kind), known


def _expect(kind: Any, data: object, path: str, wanted: str) -> Any:
    if not isinstance(data, kind):
        raise MismatchError(path, f"expected {wanted}, found {data!r}")
    return data


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
