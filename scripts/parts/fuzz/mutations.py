"""Bytes, JSON, archives and HDF5 changed a little, by a seeded generator: what `scripts/fuzz` feeds."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from typing import Any

NASTY = (
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    "x" * 3000,
    "\ud800\x00<b>",
    [],
    [[1]],
    {},
    {"a": {"b": 1}},
    "${oc.env:HOME}",
)
NASTY += ({"_target_": "os.system"}, {"class_name": "Lambda"}, "../../etc", 10**9, 0.5, ["a"] * 50, "=1")
INTERESTING = (0, 1, 2, 4, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One file after one or two changes of a random kind, few enough that many still parse; the identifier is kept."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        content = rng.choice(MUTATIONS)(bytearray(content), rng)
    return content[:4] + b"TFL3" + content[8:] if len(content) > 8 else content


def flip_bits(content: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def set_number(content: bytearray, rng: random.Random) -> bytes:
    """A 32-bit number replaced by one that often breaks things: offsets, lengths, shapes, indices."""
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(0, max(len(content) - 4, 1)) & ~3
        value = rng.choice(INTERESTING) if rng.random() < 0.7 else rng.randrange(1 << 32)
        content[place : place + 4] = struct.pack("<I", value)
    return bytes(content)


def nudge_number(content: bytearray, rng: random.Random) -> bytes:
    """A small number made a little smaller or larger: the index of another tensor, the length of another vector."""
    small = [i for i in range(0, len(content) - 4, 4) if 0 < struct.unpack_from("<I", content, i)[0] < 4096]
    for _ in range(rng.randint(1, 2)):
        if small:
            place = rng.choice(small)
            value = struct.unpack_from("<I", content, place)[0]
            content[place : place + 4] = struct.pack("<I", max(value + rng.choice((-8, -4, -2, -1, 1, 2, 4, 64)), 0))
    return bytes(content)


def truncate(content: bytearray, rng: random.Random) -> bytes:
    return bytes(content[: rng.randrange(len(content))]) or b"\0"


def copy_piece(content: bytearray, rng: random.Random) -> bytes:
    size = rng.randint(1, 64)
    source, target = (rng.randrange(max(len(content) - size, 1)) for _ in range(2))
    content[target : target + size] = content[source : source + size]
    return bytes(content)


def insert_bytes(content: bytearray, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return bytes(content[:place]) + rng.randbytes(rng.randint(1, 8)) + bytes(content[place:])


MUTATIONS = (*[flip_bits] * 6, *[set_number] * 6, *[nudge_number] * 6, *[copy_piece] * 2, truncate, insert_bytes)
PLAIN_MUTATIONS = (flip_bits, flip_bits, set_number, nudge_number, copy_piece, truncate, insert_bytes)


def plant(plain: Any, rng: random.Random) -> Any:
    """A JSON value with one or two of its inner values removed, copied or replaced by something odd."""
    for _ in range(rng.choice((1, 1, 2))):
        places = [(holder, key) for holder in _holders(plain) for key in _keys(holder)]
        if not places:
            return copy.deepcopy(rng.choice(NASTY))
        holder, key = rng.choice(places)
        choice = rng.random()
        if choice < 0.15:
            del holder[key]
        elif choice < 0.4:
            other, other_key = rng.choice(places)
            try:
                holder[key] = json.loads(json.dumps(other[other_key]))
            except (KeyError, IndexError):
                continue
        else:
            holder[key] = copy.deepcopy(rng.choice(NASTY))
    return plain


def _holders(plain: Any) -> list[Any]:
    found, todo = [], [plain]
    while todo:
        each = todo.pop()
        if isinstance(each, (dict, list)):
            found.append(each)
            todo += each.values() if isinstance(each, dict) else each
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def mutate_text(content: bytes, rng: random.Random) -> bytes:
    """JSON with odd values in it, or bytes that are changed."""
    if rng.random() < 0.6:
        return json.dumps(plant(json.loads(content), rng)).encode("utf-8", "surrogatepass")
    return rng.choice(PLAIN_MUTATIONS)(bytearray(content), rng)


def mutate_zip(content: bytes, rng: random.Random) -> bytes:
    """A member changed and packed again, so that what reads members is reached; or the bytes of the whole."""
    if rng.random() < 0.25:
        return rng.choice(PLAIN_MUTATIONS)(bytearray(content), rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    if rng.random() < 0.05:
        del members[name]
    elif name.endswith(".json"):
        members[name] = mutate_text(members[name], rng)
    else:
        members[name] = rng.choice(PLAIN_MUTATIONS)(bytearray(members[name]), rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, inner in members.items():
            archive.writestr(member, inner)
    return packed.getvalue()


def mutate_h5(content: bytes, rng: random.Random) -> bytes:
    """Bytes anywhere, or characters of the config in it."""
    start = content.find(b'{"class_name"')
    if start < 0 or rng.random() < 0.5:
        return rng.choice(PLAIN_MUTATIONS)(bytearray(content), rng)
    changed, end = bytearray(content), content.find(b"}]}}", start)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(start, max(end, start + 1))] = rng.choice(b'0919[]{}",:ntx ')
    return bytes(changed)
