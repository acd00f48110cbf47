"""Values of users' code as JSON text: what JSON cannot hold is refused by name, never bent.

msgspec writes NaN as null, and two keys that look alike twice; both would be found by nobody. So containers are
looked through before they are written; leaves of the usual types are told apart by their types alone, which costs
about as much as writing them. On the way the least length of the text is added up: a list that holds another many
times over is small in memory, but its text may fill any.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from runyard.runtime.describe import described, shown
from runyard.runtime.signals import NotSerialisable, ValueTooLarge

MAX_DEPTH = 100
"""How deeply a value may be nested; deeper ones come from mistakes, and other programs refuse them."""
MAX_NAME = 1000
"""Characters in the name of a step, an event, a channel and the like."""
MAX_KEYS = 1_000_000
"""Keys of a mapping that is no dict: its code makes them, maybe without end."""
NO_LIMIT = sys.maxsize

_SIMPLE = frozenset({str, int, bool, type(None)})
_NUL = b"\\u0000"


def as_plain(value: Any) -> Any:
    """The hook of the encoder: what msgspec does not write by itself, as something that it does.

    Pydantic models are dumped; subclasses of text and numbers become those; other mappings become dicts.

    Raises:
        TypeError: there is no JSON for this.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return _as_dict(cast("Mapping[Any, Any]", value))
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is no JSON value")


def _as_dict(value: Mapping[Any, Any]) -> dict[Any, Any]:
    plain: dict[Any, Any] = {}
    for number, key in enumerate(value):
        if number == MAX_KEYS:
            raise TypeError(f"a {type(value).__qualname__} has more than {MAX_KEYS} keys, or gives them without end")
        plain[key] = value[key]
    return plain


_ENCODER = msgspec.json.Encoder(enc_hook=as_plain)


def encode(value: Any, place: str, limit: int = NO_LIMIT) -> bytes:
    """The JSON text of a value, of at most `limit` bytes; `place` is its name in errors.

    Raises:
        NotSerialisable: it holds NaN or infinity, keys that are not text and collide, text that is not Unicode or
            holds NUL, a cycle or more than 100 levels, or an object that has no JSON.
        ValueTooLarge: its text is longer.
    """
    if not _is_plain(value, place, limit):
        _Look(limit).check(value, place, 1)
    return _write(_ENCODER, value, place, limit)


def encode_stable(value: Any, place: str, limit: int = NO_LIMIT) -> tuple[bytes, bytes]:
    """The JSON text as `encode` gives it, and one that is the same in every process: to compare, not to keep."""
    if _is_plain(value, place, limit):
        text = _write(_ENCODER, value, place, limit)
        return text, text
    _Look(limit).check(value, place, 1)
    text = _write(_ENCODER, value, place, limit)
    # Objects may hold sets, whose order changes from process to process; and keys that are numbers, which the encoder
    # does not sort.
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=as_plain, order="deterministic")
    return text, _write(_ENCODER, plain, place, limit)


def fingerprint(stable: bytes) -> str:
    """A short hash of what `encode_stable` gave."""
    return hashlib.blake2b(stable, digest_size=9).hexdigest()


def check_name(name: Any, place: str, longest: int = MAX_NAME) -> str:
    """A name that can be stored: text of at most so many characters, without NUL and lone surrogates.

    Raises:
        NotSerialisable: it is none; `place` says whose name it is.
    """
    if type(name) is not str:
        if not isinstance(name, str):
            raise NotSerialisable(f"{place} is {shown(name)}: must be text")
        name = str.__str__(name)
    if len(name) > longest:
        raise NotSerialisable(f"{place} is {shown(name)}: has {len(name)} characters, may have {longest}")
    if not (name.isascii() or _is_unicode(name)):
        raise NotSerialisable(f"{place} is {shown(name)}: holds a lone surrogate")
    if "\0" in name:
        raise NotSerialisable(f"{place} is {shown(name)}: holds NUL (\\u0000)")
    return name


def too_large(place: str, size: int | None, limit: int) -> ValueTooLarge:
    """The error for what is over the limit; its `size` is not known where its text was never made."""
    takes = "takes more" if size is None else f"takes {size} bytes"
    return ValueTooLarge(f"{place[:200]} {takes} as JSON: max_value_bytes allows {limit}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(encoder: msgspec.json.Encoder, value: Any, place: str, limit: int) -> bytes:
    try:
        text = encoder.encode(value)
    except UnicodeEncodeError as error:
        raise NotSerialisable(f"{place} holds text with a lone surrogate: {error.reason}") from None
    except RecursionError:
        raise NotSerialisable(f"{place} holds itself, or is nested too deeply") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise NotSerialisable(f"{place} cannot be written as JSON: {described(error)}") from error
    if len(text) > limit:
        raise too_large(place, len(text), limit)
    if b"\\" in text and _NUL in text and _NUL in text.replace(b"\\\\", b""):
        raise NotSerialisable(f"{place} holds NUL (\\u0000), which databases cannot keep in text")
    return text


def _is_plain(value: Any, place: str, limit: int) -> bool:
    """Whether there is nothing but what JSON has: the common case, found out fast and without a reason.

    Raises:
        ValueTooLarge: its text would surely be over the limit.
    """
    if type(value) is str:
        left = limit - len(value)
    elif type(value) in _SIMPLE:
        return True
    else:
        left = _weigh(value, 1, limit)
    if left is None:
        return False
    if left < 0:
        raise too_large(place, None, limit)
    return True


def _weigh(value: Any, depth: int, left: int) -> int | None:
    """What is left of so many bytes after the least that the text of the value takes, below 0 when it is too much; None
    for what is not plain."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict:
        if depth > MAX_DEPTH:
            return None
        left -= 5 * len(value)
        for key, item in value.items():
            if type(key) is not str:
                return None
            left -= len(key)
            if type(item) is str:
                left -= len(item)
            elif type(item) not in _SIMPLE:
                rest = _weigh(item, depth + 1, left)
                if rest is None or rest < 0:
                    return rest
                left = rest
        return left
    if kind is list or kind is tuple:
        if depth > MAX_DEPTH:
            return None
        left -= 2 * len(value)
        kinds = set(map(type, value))
        if kinds <= _SIMPLE:
            if str in kinds:
                left -= sum(len(item) for item in value if type(item) is str)
            return left
        if kinds == {float}:
            return left if all(map(math.isfinite, value)) else None
        for item in value:
            if type(item) is str:
                left -= len(item)
            elif type(item) not in _SIMPLE:
                rest = _weigh(item, depth + 1, left)
                if rest is None or rest < 0:
                    return rest
                left = rest
        return left
    return left if kind is float and math.isfinite(value) else None


class _Look:
    """A look into one value that is not plain: whether there is JSON for all of it, and else why not."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def check(self, value: Any, place: str, depth: int) -> None:
        """Goes through the value.

        Raises:
            NotSerialisable, ValueTooLarge.
        """
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind is dict:
            self._enter(depth, place)
            self._spend(5 * len(value), place)
            if set(map(type, value)) - {str}:
                _check_keys(value, place)
            for key, item in value.items():
                if type(item) not in _SIMPLE:
                    self.check(item, f"{place}.{key}", depth + 1)
                elif type(item) is str:
                    self._spend(len(item), place)
        elif kind is list or kind is tuple:
            self._enter(depth, place)
            self._spend(2 * len(value), place)
            for index, item in enumerate(value):
                if type(item) not in _SIMPLE:
                    self.check(item, f"{place}[{index}]", depth + 1)
                elif type(item) is str:
                    self._spend(len(item), place)
        elif kind is float:
            if not math.isfinite(value):
                raise NotSerialisable(f"{place} is {value}: JSON has no such number")
        elif kind not in _SIMPLE:
            self._look_into(value, place, depth)

    def _spend(self, size: int, place: str) -> None:
        self._left -= size
        if self._left < 0:
            raise too_large(place, None, self._limit)

    def _enter(self, depth: int, place: str) -> None:
        if depth > MAX_DEPTH:
            raise NotSerialisable(f"{place[:200]} is nested more than {MAX_DEPTH} levels deep, or holds itself")

    def _look_into(self, value: Any, place: str, depth: int) -> None:
        """What is neither a plain leaf nor a plain container: records, sets, models, subclasses."""
        try:
            plain = msgspec.to_builtins(value, enc_hook=as_plain)
        except RecursionError:
            raise NotSerialisable(f"{place} holds itself, or is nested too deeply") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise NotSerialisable(f"{place} is {shown(value)}: {described(error)}") from error
        if type(plain) not in _SIMPLE:
            self.check(plain, place, depth)


def _check_keys(value: dict[Any, Any], place: str) -> None:
    try:
        plain = msgspec.to_builtins(dict.fromkeys(value), str_keys=True, enc_hook=as_plain)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise NotSerialisable(f"{place} has a key that cannot be written as JSON: {described(error)}") from error
    if len(plain) < len(value):
        raise NotSerialisable(f"{place} has keys that are the same as text: {shown(list(value))}")
