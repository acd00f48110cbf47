"""The JSON that requests may hold: a profile of RFC 8259 in which every text means one thing, to us and to others.

Taken is what each part of the way (Python, SQLite, PostgreSQL, JavaScript's readers of 64 bits) keeps as it is: no
duplicate keys, no NUL, no lone surrogates, whole numbers of 64 bits, fractions within a double's range, `MAX_DEPTH`
levels. All else is refused, by the place where it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from runyard.errors import InvalidInput

MAX_DEPTH = 100
"""How deep a JSON document may nest; the document itself is depth 1."""

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The whole numbers that are taken."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
# An escape counts where the backslashes before it are even in number: each two of them are one that is meant.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_LARGEST_EXPLAINED = 100_000
"""Bytes of a body up to which the place of a fault is looked for: the search is slow, and holds up everybody else."""
_LONGEST_NAME = 200


class _Fault:
    """Stands in a parsed document where something is wrong."""

    def __init__(self, what: str) -> None:
        self.what = what


def decode(body: bytes) -> dict[str, Any]:
    """A request's body as plain data.

    Raises:
        InvalidInput: it is empty, no JSON object, not UTF-8, or not of this profile; `metadata["field"]` is the place,
            or `body` where that is not known.
    """
    document = _document(body, "a JSON object is needed, {} at least")
    if not isinstance(document, dict):
        raise InvalidInput(f"the body is {shown(document)}; a JSON object is needed", field="body")
    return cast("dict[str, Any]", document)


def decode_list(body: bytes) -> list[dict[str, Any]]:
    """A request's body as plain data, where it is a list of objects.

    Raises:
        InvalidInput: as `decode`.
    """
    document = _document(body, "a list of JSON objects is needed, [] at least")
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in cast("list[object]", document)):
        raise InvalidInput(
            f"the body is {shown(cast(object, document))}; a list of JSON objects is needed", field="body"
        )
    return cast("list[dict[str, Any]]", document)


def _document(body: bytes, needed: str) -> Any:
    if not body:
        raise InvalidInput(f"the body is empty; {needed}", field="body")
    try:
        document = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise _explained(body) or InvalidInput(f"the body is not JSON in UTF-8: {error}", field="body") from None
    # A document cannot nest deeper than it has opening brackets: most are known to be shallow by counting those.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth_exceeds(document, MAX_DEPTH):
        raise _too_deep()
    if isinstance(document, dict | list) and not _in_profile(body, cast(Any, document)):
        raise _explained(body) or InvalidInput(
            f"the body holds a key twice, a NUL character, or a whole number beyond {SMALLEST} to {LARGEST}",
            field="body",
        )
    return cast(Any, document)


def shown(value: object, longest: int = 80) -> str:
    """A JSON value as an error names it, cut when it is long."""
    text = msgspec.json.encode(value, enc_hook=repr).decode()
    return text if len(text) <= longest else text[:longest] + "..."


def spelled(tokens: Iterable[str | int]) -> str:
    """A place in a document, as errors name it: `input.list[0]`."""
    text = "".join(f"[{token}]" if isinstance(token, int) else f".{token}" for token in tokens)
    return text.removeprefix(".")


def _in_profile(body: bytes, document: object) -> bool:
    """Whether a decoded body holds nothing that the decoder is too kind about: 3 us for a usual one."""
    try:
        _pack(document)  # MessagePack has no whole numbers of more than 64 bits
    except OverflowError:
        return False
    escapes = b"\\" in body and b"\\u00" in body
    if escapes and _NUL.search(body):
        return False
    # The decoder keeps the last of two equal keys. A key that was dropped took its colon along, and all other colons
    # are still there, in keys, in texts and after keys: unless some were written as escapes.
    again = _encode(document)
    if again == body:
        return True
    if escapes and b"\\u003" in body:
        return not _has_duplicates(body)
    return body.count(b":") == again.count(b":")


def _has_duplicates(body: bytes) -> bool:
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    # Numbers are read as texts: Python would refuse those that have very many digits.
    json.loads(body, object_pairs_hook=look, parse_int=str, parse_float=str)
    return found


def _explained(body: bytes) -> InvalidInput | None:
    """What is wrong and where, as a second reader sees it that takes more than it should; None if it sees nothing."""
    if len(body) > _LARGEST_EXPLAINED:
        return None
    try:
        document = json.loads(
            body.decode("utf-8", "surrogateescape"),
            object_pairs_hook=_pairs,
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        return None
    try:
        for tokens, fault in _faults(document, ()):
            field = spelled(tokens)[:_LONGEST_NAME] or "body"
            return InvalidInput(f"{field} {fault}", field=field)
    except RecursionError:
        return _too_deep()
    return None


def _faults(value: Any, tokens: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    match value:
        case _Fault():
            yield tokens, value.what
        case str() if wrong := _wrong_text(value):
            yield tokens, f"is a text that holds {wrong}; it cannot be kept"
        case list():
            for index, child in enumerate(cast("list[Any]", value)):
                yield from _faults(child, (*tokens, index))
        case dict():
            for key, child in cast("dict[str, Any]", value).items():
                if wrong := _wrong_text(key):
                    place = (*tokens, key.encode("utf-8", "replace").decode())
                    yield place, f"is a key that holds {wrong}; it cannot be kept"
                yield from _faults(child, (*tokens, key))
        case _:
            return


def _wrong_text(text: str) -> str | None:
    if "\0" in text:
        return "NUL (\\u0000)"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "bytes that are not UTF-8, or half of a surrogate pair"
    return None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _Fault("stands there twice; a key may stand in an object once") if key in found else value
    return found


def _whole(text: str) -> object:
    if len(text) <= 20 and SMALLEST <= (number := int(text)) <= LARGEST:
        return number
    return _Fault(f"is {text[:40]}{'...' if len(text) > 40 else ''}; allowed: whole numbers of {SMALLEST} to {LARGEST}")


def _fraction(text: str) -> object:
    number = float(text)
    return _Fault(f"is {text[:40]}; allowed: numbers up to 1.8e308") if number in (_INFINITY, -_INFINITY) else number


_INFINITY = float("inf")


def _constant(text: str) -> object:
    return _Fault(f"is {text}, which is not JSON")


def _too_deep() -> InvalidInput:
    return InvalidInput(f"the body nests deeper than {MAX_DEPTH}", field="body")


def _depth_exceeds(document: object, limit: int) -> bool:
    level: list[Any] = [document]
    for _ in range(limit + 1):
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return False
        level = [child for value in level for child in _children(value)]
    return True


def _children(value: Any) -> Iterable[Any]:
    return cast("dict[str, Any]", value).values() if isinstance(value, dict) else value
