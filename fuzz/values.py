"""Values that are often handled wrongly, and ways to spoil a document and its text."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

TEXTS = [
    "", " ", "a", "A" * 300, "é", "e\u0301", "日本", "🏴", "\U0010ffff", "\ufeff", "\u202e", "\u2028", "\x7f",
    "\x1f", "\n", "'; DROP TABLE runs; --", "%00", "%s%n", "../..", "${x}", "{}", "[]", "null", "true", "NaN", "0",
    "-1", "1e3", "$eq", "__proto__", "*", ".", "a.b", "a\tb", "ﬀ", "İ", "\\", '"', "\\u0000", "values", "noop",
]  # fmt: skip
NUMBERS: list[Any] = [
    0, -0.0, 1, -1, 2, 10, 100, 999, 1000, 1001, 65535, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63,
    2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**19, 10**100, 0.5, 1.0, 5e-324, 1e308, 3_155_760_000, 1e-9,
]  # fmt: skip
UUIDS = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "0190A6F0-5C3E-7B1A-9B0E-3F6F1C2D4E5F",
    "{0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5f}",
    "urn:uuid:0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5f",
    "0190a6f05c3e7b1a9b0e3f6f1c2d4e5f",
    "0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5",
    "0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5g",
    "x",
]
CURSORS = [
    "0", "1", "2", "5", "-1", "-", "-2", "999999999999999999", "1000000000000000000", "9223372036854775807", "1e3",
    "+1", "0x1", " 1", "1 ", "", "٣", "1_000", "null", "1.0", "0" * 30, "18446744073709551616",
]  # fmt: skip

_PIECES = [
    b"\xff", b"\x00", b"\xc0\x80", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000",
    b"/**/",
]  # fmt: skip
_VALUES = [
    b"NaN", b"-Infinity", b"1e400", b"-1e999", b"01", b"+1", b"1.", b".5", b"0x10", b"'a'", b"undefined", b"tru",
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\u00', b'"\\x41"', b'"\x01"', b'"\xe2\x28\xa1"',
    b"1" + b"0" * 4301, b"-" + b"9" * 50, b"18446744073709551616", b'{"a":1,"a":2}',
    b"[" * 101 + b"]" * 101, b'{"a":' * 99 + b"1" + b"}" * 99, b"[" * 50_000,
]  # fmt: skip
_AROUND = [
    (b"\xef\xbb\xbf", b""), (b"{}", b""), (b"[", b"]"), (b"", b"\n//"), (b"\xff\xfe", b""), (b" \r\n\t", b" \n"),
    (b'"', b'"'), (b"", b"\x00"),
]  # fmt: skip


def anything(random: Random, depth: int = 0) -> Any:
    """Any value that JSON can hold."""
    match random.randrange(7 if depth < 3 else 5):
        case 0:
            return random.choice([None, True, False])
        case 1:
            return random.choice(NUMBERS)
        case 2 | 3:
            return random.choice(TEXTS)
        case 4:
            return random.choice(UUIDS)
        case 5:
            return [anything(random, depth + 1) for _ in range(random.randrange(4))]
        case _:
            return {random.choice(TEXTS): anything(random, depth + 1) for _ in range(random.randrange(4))}


def spoiled(random: Random, document: dict[str, Any]) -> dict[str, Any]:
    """A copy with one thing changed: a value replaced, a key dropped, renamed or added, somewhere."""
    copy = json.loads(json.dumps(document))
    place: Any = copy
    while True:
        children = place.values() if isinstance(place, dict) else place
        inner = [child for child in children if child and isinstance(child, dict | list)]
        if not inner or random.random() < 0.5:
            break
        place = random.choice(inner)
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not keys:
        return copy
    key = random.choice(keys)
    match random.randrange(6):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[random.choice(TEXTS)] = place.pop(key)
        case 2 if isinstance(place, dict):
            place[random.choice(TEXTS)] = anything(random)
        case 3:
            place[key] = [place[key]]
        case _:
            place[key] = anything(random)
    return copy


def broken(random: Random, text: bytes) -> bytes:
    """A JSON text that is none any more, or one that means two things."""
    return random.choice(_BREAKS)(random, text)


def _cut(random: Random, text: bytes) -> bytes:
    return text[: random.randrange(len(text))]


def _insert(random: Random, text: bytes) -> bytes:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(_PIECES) + text[at:]


def _replace(random: Random, text: bytes) -> bytes:
    """Some value in the text becomes one that JSON lacks, or that cannot be kept."""
    at = text.rfind(b":", 0, random.randrange(1, len(text) + 1))
    return text if at < 0 else text[: at + 1] + random.choice(_VALUES) + text[max(at + 1, text.find(b",", at)) :]


def _repeat_keys(random: Random, text: bytes) -> bytes:
    return text[:-1] + b"," + text[1:] if len(text) > 2 else text


def _surround(random: Random, text: bytes) -> bytes:
    before, after = random.choice(_AROUND)
    return before + text + after


def _recode(random: Random, text: bytes) -> bytes:
    encoding = random.choice(["utf-16", "utf-32-be", "latin-1", "utf-7"])
    return text.decode("utf-8", "replace").encode(encoding, "replace")


_BREAKS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _cut,
    _insert,
    _insert,
    _replace,
    _replace,
    _repeat_keys,
    _surround,
    _recode,
)
