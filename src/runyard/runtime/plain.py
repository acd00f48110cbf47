"""Values of users' code as JSON text: what JSON cannot hold is refused by name, never bent.

msgspec writes NaN as null, and two keys that look alike twice; both would be found by nobody. So containers are
looked through before they are written; leaves of the usual types are told apart by their types alone, which costs
about as much as writing them.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from runyard.runtime.signals import NotSerialisable

MAX_DEPTH = 100
"""How deeply a value may be nested; deeper ones come from mistakes, and other programs refuse them."""

_SIMPLE = frozenset({str, int, bool, type(None)})


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
        return dict(cast("Mapping[Any, Any]", value))
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is no JSON value")


_ENCODER = msgspec.json.Encoder(enc_hook=as_plain)
_SORTED = msgspec.json.Encoder(enc_hook=as_plain, order="deterministic")


def encode(value: Any, place: str) -> bytes:
    """The JSON text of a value; `place` is its name in errors.

    Raises:
        NotSerialisable: it holds NaN or infinity, keys that are not text and collide, text that is not Unicode,
            a cycle or more than 100 levels, or an object that has no JSON.
    """
    if not _is_plain(value, 1):
        _check(value, place, 1)
    return _write(_ENCODER, value, place)


def encode_stable(value: Any, place: str) -> tuple[bytes, bytes]:
    """The JSON text as `encode` gives it, and one that is the same in every process: to compare, not to keep."""
    if _is_plain(value, 1):
        text = _write(_ENCODER, value, place)
        return text, text
    _check(value, place, 1)
    # Objects may hold sets, whose order changes from process to process.
    return _write(_ENCODER, value, place), _write(_SORTED, value, place)


def fingerprint(stable: bytes) -> str:
    """A short hash of what `encode_stable` gave."""
    return hashlib.blake2b(stable, digest_size=9).hexdigest()


def _write(encoder: msgspec.json.Encoder, value: Any, place: str) -> bytes:
    try:
        return encoder.encode(value)
    except UnicodeEncodeError as error:
        raise NotSerialisable(f"{place} holds text with a lone surrogate: {error}") from error
    except RecursionError as error:
        raise NotSerialisable(f"{place} holds itself, or is nested too deeply") from error
    except (TypeError, ValueError) as error:
        raise NotSerialisable(f"{place} cannot be written as JSON: {error}") from error


def _is_plain(value: Any, depth: int) -> bool:
    """Whether there is nothing but what JSON has: the common case, found out fast and without a reason."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in _SIMPLE:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth > MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SIMPLE and not _is_plain(item, depth + 1):
                return False
        return True
    if kind is list or kind is tuple:
        kinds = set(map(type, value))
        if kinds <= _SIMPLE:
            return True
        if kinds == {float}:
            return all(map(math.isfinite, value))
        return all(type(item) in _SIMPLE or _is_plain(item, depth + 1) for item in value)
    return False


def _check(value: Any, place: str, depth: int) -> None:
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict:
        _check_depth(depth, place)
        if set(map(type, value)) - {str}:
            _check_keys(value, place)
        for key, item in value.items():
            if type(item) not in _SIMPLE:
                _check(item, f"{place}.{key}", depth + 1)
    elif kind is list or kind is tuple:
        _check_depth(depth, place)
        for index, item in enumerate(value):
            if type(item) not in _SIMPLE:
                _check(item, f"{place}[{index}]", depth + 1)
    elif kind is float:
        if not math.isfinite(value):
            raise NotSerialisable(f"{place} is {value}: JSON has no such number")
    else:
        _check_object(value, place, depth)


def _check_depth(depth: int, place: str) -> None:
    if depth > MAX_DEPTH:
        raise NotSerialisable(f"{place[:200]} is nested more than {MAX_DEPTH} levels deep, or holds itself")


def _check_keys(value: dict[Any, Any], place: str) -> None:
    try:
        plain = msgspec.to_builtins(dict.fromkeys(value), str_keys=True, enc_hook=as_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotSerialisable(f"{place} has a key that cannot be written as JSON: {error}") from error
    if len(plain) < len(value):
        raise NotSerialisable(f"{place} has keys that are the same as text: {list(value)!r:.200}")


def _check_object(value: Any, place: str, depth: int) -> None:
    """Looks into what is neither a plain leaf nor a plain container: records, sets, models, subclasses."""
    try:
        plain = msgspec.to_builtins(value, enc_hook=as_plain)
    except RecursionError as error:
        raise NotSerialisable(f"{place} holds itself, or is nested too deeply") from error
    except (TypeError, ValueError) as error:
        raise NotSerialisable(f"{place} is {value!r:.80}: {error}") from error
    if type(plain) not in _SIMPLE:
        _check(plain, place, depth)
