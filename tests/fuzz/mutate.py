"""Random damage to files: to bytes, to zip entries, to JSON values and to ONNX messages."""

import io
import json
import tarfile
import warnings
import zipfile
from contextlib import suppress
from random import Random
from typing import Any

import onnx

NUMBERS = (0, 1, -1, 2, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, -(1 << 63))
Entries = list[tuple[str, bytes]]


def flipped(data: bytes, draw: Random) -> bytes:
    """Change, cut, repeat or splice some bytes; ends, where directories lie, more often."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 8])):
        if not changed:
            break
        place = draw.choice(
            [draw.randrange(len(changed)), max(0, len(changed) - 1 - draw.randrange(99))]
        )
        match draw.randrange(6):
            case 0 | 1:
                changed[place] ^= 1 << draw.randrange(8)
            case 2:
                changed[place] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
            case 3:
                del changed[place : place + draw.choice([1, 4, 100, len(changed)])]
            case 4:
                changed[place:place] = changed[place : place + draw.choice([1, 4, 100])]
            case 5:
                other = draw.randrange(len(changed))
                changed[place : place + 8] = changed[other : other + 8]
    return bytes(changed)


def read_entries(data: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(entries: Entries, draw: Random) -> bytes:
    way = zipfile.ZIP_STORED if draw.random() < 0.9 else zipfile.ZIP_DEFLATED
    memory = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(memory, "w", way) as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, data in entries:
            archive.writestr(name, data)
    return memory.getvalue()


def changed_entries(entries: Entries, draw: Random, payload: bytes) -> Entries:
    """Damage one entry, or leave it out, rename, repeat it, or put a pickled payload there."""
    place = draw.randrange(len(entries))
    name, data = entries[place]
    match draw.randrange(8):
        case 0:
            return entries[:place] + entries[place + 1 :]
        case 1:
            other = draw.choice([draw.choice(entries)[0], "../x", "/x", f"{name}/x", "x/data.pkl"])
            return [*entries[:place], (other, data), *entries[place + 1 :]]
        case 2:
            return [*entries, (name, flipped(data, draw))]
        case 3:
            return [*entries[:place], (name, payload), *entries[place + 1 :]]
        case 4 if data[:1] == b"\x80":
            # The payload's effect, then the pickle itself.
            data = data[:2] + payload[2:-1] + b"0" + data[2:]
            return [*entries[:place], (name, data), *entries[place + 1 :]]
    if name.endswith(".json") and draw.random() < 0.7:
        data = changed_json(data, draw)
    else:
        data = flipped(data, draw)
    return [*entries[:place], (name, data), *entries[place + 1 :]]


def changed_members(data: bytes, draw: Random) -> bytes:
    """Change a field of one member of a tar stream, with a right checksum."""
    changed = bytearray()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        victim = draw.choice(members)
        for member in members:
            content = data[member.offset_data : member.offset_data + member.size]
            if member is victim:
                _change_member(member, draw)
            for _ in range(draw.choice([0, 1, 1, 1, 1, 2]) if member is victim else 1):
                changed += member.tobuf(tarfile.GNU_FORMAT) + content.ljust(-len(content) % 512)
    return bytes(changed) + bytes(2 * 512)


def _change_member(member: tarfile.TarInfo, draw: Random) -> None:
    names = ["../x", "/etc/passwd", "x" * 200, "", member.name, "output_1.bin"]
    match draw.randrange(4):
        case 0:
            member.type = draw.choice([*b"01234567ALKSxgXDV\0"]).to_bytes(1, "little")
            member.linkname = draw.choice(names)
        case 1:
            member.name = draw.choice(names)
        case 2:
            member.size = draw.choice([0, 1, 511, 1 << 30, 1 << 62])
        case 3:
            member.type, member.linkname = tarfile.SYMTYPE, draw.choice(names)


def changed_json(text: bytes, draw: Random) -> bytes:
    document = json.loads(text)
    places = list(_json_places(document))
    for _ in range(draw.choice([1, 1, 3])):
        holder, key = draw.choice(places)
        try:
            _change_json(holder, key, draw)
        except (KeyError, IndexError):
            continue  # an earlier change removed it
    return json.dumps(document).encode()


def _json_places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _json_places(item)


def _change_json(holder: Any, key: Any, draw: Random) -> None:
    old = holder[key]
    if draw.random() < 0.15:
        del holder[key]
    elif isinstance(old, int) and draw.random() < 0.7:
        holder[key] = draw.choice([*NUMBERS, old + 1, old - 1, old * 2])
    elif isinstance(old, str) and draw.random() < 0.5:
        holder[key] = draw.choice([old + "x", old[:-1], "", "../x", "\x1b[31m", "os.system"])
    else:
        holder[key] = draw.choice([None, True, [], {}, 1.5, "x", [old], *NUMBERS])


def changed_model(data: bytes, draw: Random) -> bytes:
    """Change some fields of an ONNX model: of nodes, attributes, types, tensors, operator sets."""
    model = onnx.load_model_from_string(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        message = draw.choice(list(_messages(model)))
        fields = list(message.DESCRIPTOR.fields)
        with suppress(ValueError):  # a number that the field does not hold
            _change_field(message, draw.choice(fields), draw)
    return model.SerializeToString()


def _messages(message: Any) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if hasattr(value, "__len__") else [value]:
                yield from _messages(item)


def _change_field(message: Any, field: Any, draw: Random) -> None:
    value = getattr(message, field.name)
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        if len(value) and draw.random() < 0.4:
            del value[draw.randrange(len(value))]
        elif field.message_type is not None:
            if len(value):
                value.add().CopyFrom(value[draw.randrange(len(value))])
        else:
            value.append(_scalar(field, draw, value[0] if len(value) else None))
    elif field.message_type is not None:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(field, draw, value))


def _scalar(field: Any, draw: Random, old: Any) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return flipped(old or b"abcd", draw)
        return draw.choice(["", "x", "y", "Loop", "Relu", "Reshape", "my", f"{old}x", "../data"])
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return draw.choice([0.0, -1.0, 1e38, float("nan"), float("inf")])
    if field.cpp_type == field.CPPTYPE_ENUM:
        return draw.choice([v.number for v in field.enum_type.values])
    if field.cpp_type == field.CPPTYPE_INT32:
        return draw.choice([*NUMBERS[:7], *range(24)])
    return draw.choice([*NUMBERS, *range(8)])
