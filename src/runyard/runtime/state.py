"""A thread's state as an agent changes it: what it gives is merged into channels, and the difference is kept."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from runyard.checkpoints import HIDDEN, Change, Changes, State, append, apply, set_to
from runyard.runtime.describe import shown
from runyard.runtime.plain import NO_LIMIT, check_name, encode, encode_stable, fingerprint, too_large
from runyard.runtime.signals import NotSerialisable

Reducer = Callable[[Any, Any], Any]
"""(old value or None, what was given) -> new value of a channel."""

MESSAGES = "messages"

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


class StateView(Mapping[str, Any]):
    """The state of a moment, read only. A channel is decoded when it is first read; what was read is a copy."""

    __slots__ = ("_read", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._read: dict[str, Any] = {}

    def __getitem__(self, channel: str) -> Any:
        if channel not in self._read:
            self._read[channel] = msgspec.json.decode(self._state[channel])
        return self._read[channel]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    def __repr__(self) -> str:
        return f"StateView({dict(self)!r})"


class Given:
    """What an agent gave to be merged, as the JSON texts of its channels: later changes of its objects do not show."""

    __slots__ = ("_left", "_limit", "_place", "_stable", "texts")

    def __init__(self, value: Any, place: str, limit: int = NO_LIMIT) -> None:
        """A mapping or a record (dataclass, msgspec Struct, pydantic model) gives its fields, another value the
        channel `output`. All texts together have at most `limit` bytes.

        Raises:
            NotSerialisable: naming `place` and the channel.
            ValueTooLarge.
        """
        self.texts: dict[str, bytes] = {}
        self._stable: list[bytes] = []
        self._place = place
        self._limit = self._left = limit
        if isinstance(value, Mapping):
            for channel, item in cast("Mapping[Any, Any]", value).items():
                if type(channel) is not str:
                    raise NotSerialisable(f"{place} has the key {shown(channel)}: a channel's name must be text")
                self._add(channel, *encode_stable(item, f"{place}.{channel}", limit))
        elif _is_record(value):
            text, stable = encode_stable(value, place, limit)
            for channel, raw in _OBJECT.decode(text).items():
                self._add(channel, bytes(raw), b"")
            self._stable.append(stable)
        else:
            self._add("output", *encode_stable(value, place, limit))

    def _add(self, channel: str, text: bytes, stable: bytes) -> None:
        self._left -= len(channel) + len(text)
        if self._left < 0:
            raise too_large(self._place, None, self._limit)
        if channel[:1] == HIDDEN:
            raise NotSerialisable(f"{self._place} has the key {shown(channel)}: no channel's name begins with \\x01")
        self.texts[check_name(channel, "the name of a channel", NO_LIMIT)] = text
        self._stable += (channel.encode(), stable)

    def fingerprint(self) -> str:
        """The same for what is the same, in every process."""
        return fingerprint(b"\0".join(self._stable))


class Merged(msgspec.Struct, frozen=True):
    """What merging did: the changes of the state, the delta as a JSON object, the whole messages in it as an array."""

    changes: Changes
    delta: bytes
    messages: bytes | None


class Channels:
    """The state of one attempt. `state` is never changed in place: who holds it holds that moment."""

    def __init__(
        self, state: State, reducers: Mapping[str, Reducer], new_id: Callable[[], str], limit: int = NO_LIMIT
    ) -> None:
        """The whole state has at most `limit` bytes; one that has more already may only shrink."""
        self._state = state
        self._reducers = reducers
        self._new_id = new_id
        self._limit = limit
        self._size = sum(map(len, state)) + sum(map(len, state.values()))
        self._lengths: dict[str, int] = {}
        self._messages: Messages | None = None

    @property
    def state(self) -> State:
        return self._state

    def merge(self, given: Given) -> Merged:
        """Merges what was given: reducers where declared, messages by id, anything else replaces its channel.

        Raises:
            NotSerialisable: a reducer's result, or messages that are none. Nothing is merged then.
            ValueTooLarge: the state would be. Nothing is merged then either.
        """
        changes: Changes = {}
        parts: list[bytes] = []
        whole: bytes | None = None
        for channel, text in given.texts.items():
            old = self._state.get(channel)
            if channel in self._reducers:
                change = self._difference(channel, old, self._reduced(channel, old, text))
                if channel == MESSAGES:
                    whole = text if text.startswith(b"[") else b"[" + text + b"]"
            elif channel == MESSAGES:
                change, text = self._upsert(old, text)
                whole = text
            else:
                change = self._difference(channel, old, text)
            if change is not None:
                changes[channel] = change
            parts.append(_ENCODER.encode(channel) + b":" + text)
        if changes:
            self._grow(changes)
            self._state = apply(self._state, changes)
            if MESSAGES in changes and MESSAGES in self._reducers:
                self._messages = None
        return Merged(changes, b"{" + b",".join(parts) + b"}", whole)

    def _grow(self, changes: Changes) -> None:
        size = self._size
        for channel, change in changes.items():
            size += len(change.value)
            if channel not in self._state:
                size += len(channel)
            elif change.at is None:
                size -= len(self._state[channel])
        if size > self._limit and size > self._size:
            self._messages = None  # it has taken in what is refused here
            raise too_large("the thread's state", size, self._limit)
        self._size = size

    def _reduced(self, channel: str, old: bytes | None, text: bytes) -> bytes:
        before = None if old is None else msgspec.json.decode(old)
        after = self._reducers[channel](before, msgspec.json.decode(text))
        if channel == MESSAGES and isinstance(after, list):
            after = [_with_id(message, self._new_id) for message in cast("list[Any]", after)]
        return encode(after, f"state.{channel}", self._limit)

    def _upsert(self, old: bytes | None, text: bytes) -> tuple[Change | None, bytes]:
        if self._messages is None:
            self._messages = Messages(old)
        read: Any = msgspec.json.decode(text)
        given = cast("list[Any]", [read] if isinstance(read, dict) else read)
        if not isinstance(given, list):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotSerialisable(f"messages is {shown(read)}: must be a list of messages")
        for index, message in enumerate(given):
            if not isinstance(message, dict):
                raise NotSerialisable(f"messages[{index}] is {shown(message)}: must be a mapping")
        return self._messages.upsert([_with_id(message, self._new_id) for message in given])

    def _difference(self, channel: str, old: bytes | None, new: bytes) -> Change | None:
        """None for no change. A list that only grew shows in the texts: the new one begins with the old."""
        if old == new:
            return None
        if old is not None and old[:1] == b"[" and new[:1] == b"[":
            if old == b"[]":
                tail, at = new, 0
            elif new.startswith(old[:-1]) and new[len(old) - 1 : len(old)] == b",":
                tail = b"[" + new[len(old) :]
                at = self._lengths[channel] if channel in self._lengths else len(_ELEMENTS.decode(old))
            else:
                self._lengths.pop(channel, None)
                return set_to(new)
            self._lengths[channel] = at + len(_ELEMENTS.decode(tail))
            return append(at, tail)
        self._lengths.pop(channel, None)
        return set_to(new)


class Messages:
    """The messages of a thread as texts, with their places by id."""

    class _Id(msgspec.Struct):
        id: str | None = None

    _IDS = msgspec.json.Decoder(list[_Id])

    def __init__(self, text: bytes | None) -> None:
        """Reads the channel; a value that is no list of messages is as none: the next message replaces it."""
        self._texts: list[bytes] = []
        self._places: dict[str, int] = {}
        self._foreign = False
        if text is None:
            return
        try:
            ids = self._IDS.decode(text)
        except msgspec.ValidationError:
            self._foreign = True
            return
        self._texts = [bytes(raw) for raw in _ELEMENTS.decode(text)]
        self._places = {message.id: place for place, message in enumerate(ids) if message.id is not None}

    def upsert(self, messages: Sequence[dict[str, Any]]) -> tuple[Change | None, bytes]:
        """Replaces messages whose id is known and appends the others; the change, and the given ones as an array."""
        length = len(self._texts)
        replaced, self._foreign = self._foreign, False
        given: list[bytes] = []
        for message in messages:
            text = _ENCODER.encode(message)
            given.append(text)
            place = self._places.get(message["id"])
            if place is None:
                self._places[message["id"]] = len(self._texts)
                self._texts.append(text)
            elif self._texts[place] != text:
                replaced = replaced or place < length
                self._texts[place] = text
        if replaced:
            change = set_to(_array(self._texts))
        elif len(self._texts) > length:
            change = append(length, _array(self._texts[length:]))
        else:
            change = None
        return change, _array(given)


def _array(texts: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


def _with_id(message: Any, new_id: Callable[[], str]) -> Any:
    if isinstance(message, dict) and not cast("dict[str, Any]", message).get("id"):
        return {**cast("dict[str, Any]", message), "id": new_id()}
    if isinstance(message, dict) and not isinstance(message["id"], str):
        raise NotSerialisable(f"a message has the id {shown(message['id'])}: must be text")
    return cast(Any, message)


def _is_record(value: Any) -> bool:
    """Whether a value is an object with named fields, which JSON writes as an object."""
    if isinstance(value, msgspec.Struct):
        return not type(value).__struct_config__.array_like
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return True
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, pydantic.BaseModel)
