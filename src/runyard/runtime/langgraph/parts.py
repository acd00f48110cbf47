"""One value of a channel as it is stored: what people see of it, and what is hidden beside that to have it back whole.

What is hidden beside a value (its twin) begins with a digest of the text that is seen. Where a client has changed that
since, the two do not fit any more, and what is seen counts.
"""

from __future__ import annotations

import base64
import hashlib
import operator
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, cast

import msgspec
from langchain_core.messages import BaseMessage

from runyard.checkpoints import Change, append, set_to
from runyard.errors import CorruptCheckpoint
from runyard.runtime.langgraph.exact import is_plain
from runyard.runtime.langgraph.messages import NotAMessage, exactly, from_protocol
from runyard.runtime.langgraph.typed import Typed
from runyard.runtime.langgraph.values import project

Kind = Literal[0, 1, 2, 3, 4]
PLAIN: Kind = 0
MESSAGE: Kind = 1
MESSAGES: Kind = 2
TYPED: Kind = 3
MIXED: Kind = 4
"""A list whose elements are of several kinds, with a twin for each: see `_AS_SEEN`."""

_AS_SEEN, _AS_MESSAGE = b"0", b"1"
"""The twins of elements that need none: what is seen is the element, or a message that is."""
_LEVELS = 3
"""How deep objects are looked for in what a task gave: in a list, in a list that overwrites, in what a reducer is given
by name."""
_DIGEST = 8
"""Characters of a digest."""

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


class Part:
    """A value with its texts. `twin` is hidden beside `seen`; None where there is nothing to hide."""

    __slots__ = ("kind", "seen", "twin", "value")

    def __init__(self, value: Any, kind: Kind, seen: bytes, twin: bytes | None) -> None:
        self.value = value
        self.kind = kind
        self.seen = seen
        self.twin = twin


class ListPart:
    """A list with the texts of its elements: those up to `head` (a JSON array) in one piece, until somebody asks."""

    __slots__ = ("codes", "fits", "head", "items", "kind", "tail")

    def __init__(self, items: list[Any], head: bytes, tail: list[bytes], codes: list[bytes]) -> None:
        self.items = items
        self.head = head
        self.tail = tail
        self.codes = codes
        self.kind = _kind_of(codes)
        self.fits = True
        """Whether the stored twin, or that there is none, is that of these elements: not where a client has changed
        what is seen."""

    def texts(self) -> list[bytes]:
        """The text of each element."""
        return [*map(bytes, _RAWS.decode(self.head)), *self.tail]


AnyPart = Part | ListPart


def _kind_of(codes: list[bytes]) -> Kind:
    if codes.count(_AS_SEEN) == len(codes):
        return PLAIN
    return MESSAGES if codes.count(_AS_MESSAGE) == len(codes) else MIXED


def _digest(seen: bytes) -> str:
    return base64.b64encode(hashlib.blake2b(seen, digest_size=6).digest()).decode()


class Parts:
    """Makes parts of values, and values of parts."""

    def __init__(self, typed: Typed) -> None:
        self._typed = typed

    # values to parts

    def of(self, value: Any, place: str) -> AnyPart:
        """A value as it is stored.

        Raises:
            NotSerialisable: LangGraph could not store it either; `place` names it.
        """
        if type(value) is list:
            items = cast("list[Any]", value)
            if is_plain(items):
                return ListPart(items.copy(), encode_json(items), [], [_AS_SEEN] * len(items))
            pairs = [self._element(item, place) for item in items]
            return ListPart(items.copy(), b"[]", [text for text, _ in pairs], [code for _, code in pairs])
        if isinstance(value, BaseMessage):
            form = exactly(value)
            if form is not None:
                return Part(value, MESSAGE, encode_json(form), None)
        elif is_plain(value):
            return Part(value, PLAIN, encode_json(value), None)
        seen = encode_json(
            project(getattr(value, "value", value) if type(value).__name__ == "_DeltaSnapshot" else value)
        )
        return Part(value, TYPED, seen, encode_json(self._twin(value, seen, place)))

    def grown(self, old: AnyPart, value: Any, touched: Collection[int] | None, place: str) -> AnyPart:
        """A list as it is stored that may be one that was, with more behind it; `touched` are the ids of objects that
        may have changed since, None where all may have."""
        if type(value) is not list or type(old) is not ListPart:
            return self.of(value, place)
        items, was = cast("list[Any]", value), old.items
        known = len(was)
        if len(items) >= known and touched is not None and all(map(operator.is_, items, was)):
            apart = not touched or frozenset(touched).isdisjoint(map(id, was))
            suspects = [] if apart else [i for i, item in enumerate(was) if id(item) in touched]
        elif touched is None:
            suspects = list(range(min(known, len(items))))
        else:
            both = zip(items, was, strict=False)
            suspects = [i for i, (new, item) in enumerate(both) if new is not item or id(new) in touched]
        head, tail, codes = old.head, old.tail, old.codes
        if suspects or len(items) < known:
            texts, codes = old.texts(), list(codes)
            changed = len(items) < known
            for index in suspects:
                text, code = self._element(items[index], place)
                changed = changed or text != texts[index] or code != codes[index]
                texts[index], codes[index] = text, code
            if changed:
                head, tail, codes = b"[]", texts[: len(items)], codes[: len(items)]
        pairs = [self._element(item, place) for item in items[known:]]
        more, more_codes = [text for text, _ in pairs], [code for _, code in pairs]
        return ListPart(items.copy(), head, [*tail, *more], [*codes, *more_codes])

    def _element(self, item: Any, place: str) -> tuple[bytes, bytes]:
        if isinstance(item, BaseMessage):
            form = exactly(item)
            if form is not None:
                return encode_json(form), _AS_MESSAGE
        elif is_plain(item):
            return encode_json(item), _AS_SEEN
        seen = encode_json(project(item))
        return seen, encode_json(self._twin(item, seen, place))

    def _twin(self, value: Any, seen: bytes, place: str) -> str:
        return _digest(seen) + base64.b64encode(self._typed.dumps(value, place)).decode()

    # parts to values

    def read(self, kind: int, seen: bytes, twin: bytes | None) -> AnyPart:
        """The part of a value that was stored, and maybe changed by a client since."""
        if kind == TYPED and twin is not None:
            text: Any = decode_json(twin)
            if type(text) is str and text[:_DIGEST] == _digest(seen):
                return Part(self._untwinned(text), TYPED, seen, twin)
        if seen[:1] == b"[":
            return self._read_list(kind, seen, twin)
        value: Any = decode_json(seen)
        if kind in (MESSAGE, MESSAGES):
            message = _as_message(value)
            if message is not None:
                return Part(message, MESSAGE, seen, None)
        return Part(value, PLAIN, seen, None)

    def _read_list(self, kind: int, seen: bytes, twin: bytes | None) -> AnyPart:
        values: list[Any] = decode_json(seen)
        if kind in (MESSAGE, MESSAGES):
            codes = [_AS_MESSAGE] * len(values)
            for index, value in enumerate(values):
                message = _as_message(value)
                if message is None:
                    codes[index] = _AS_SEEN
                else:
                    values[index] = message
            part = ListPart(values, seen, [], codes)
            part.fits = part.kind != MIXED
            return part
        if kind != MIXED or twin is None:
            return ListPart(values, seen, [], [_AS_SEEN] * len(values))
        twins = [bytes(raw) for raw in _RAWS.decode(twin)]
        speaks = _AS_MESSAGE in twins
        codes = [*twins[: len(values)], *[_AS_SEEN] * (len(values) - len(twins))]
        texts = _RAWS.decode(seen)
        for index, (value, code) in enumerate(zip(values, codes, strict=True)):
            text = decode_json(code) if code[:1] == b'"' else None
            if text is not None and text[:_DIGEST] == _digest(bytes(texts[index])):
                values[index] = self._untwinned(text)
                continue
            message = _as_message(value) if code == _AS_MESSAGE or (speaks and (text or index >= len(twins))) else None
            codes[index] = _AS_SEEN if message is None else _AS_MESSAGE
            values[index] = value if message is None else message
        part = ListPart(values, seen, [], codes)
        part.fits = codes == twins
        return part

    def _untwinned(self, text: str) -> Any:
        return self._typed.loads(base64.b64decode(text[_DIGEST:], validate=True))


def _as_message(value: Any) -> BaseMessage | None:
    if type(value) is not dict:
        return None
    try:
        return from_protocol(cast("dict[str, Any]", value))
    except NotAMessage:
        return None


def touched_by(returned: Iterable[Any]) -> set[int]:
    """The ids of the objects that tasks gave, and of those in them: a node may have changed one that a list of the
    state still holds."""
    touched: set[int] = set()
    left = [(value, _LEVELS) for value in returned]
    while left:
        value, levels = left.pop()
        touched.add(id(value))
        if not levels:
            continue
        within: Iterable[Any] = ()
        if isinstance(value, list | tuple | set | frozenset):
            within = cast("Iterable[Any]", value)
        elif isinstance(value, Mapping):
            within = cast("Mapping[Any, Any]", value).values()
        elif type(value).__name__ == "Overwrite":  # LangGraph's, since 1.0
            within = (value.value,)
        left += [(item, levels - 1) for item in within]
    return touched


def seen_change(old: AnyPart | None, new: AnyPart) -> Change | None:
    """What happened to what is seen of a channel; None for nothing."""
    if type(new) is Part:
        return None if type(old) is Part and old.seen == new.seen else set_to(new.seen)
    assert type(new) is ListPart
    at = _kept(old, new)
    if at is None:
        return set_to(_joined(new.texts()))
    return None if at == len(new.items) else append(at, _joined(_behind(new, at)))


def twin_change(old: AnyPart | None, new: AnyPart) -> Change | None:
    """What happened to what is hidden beside a channel that has a twin; None for nothing."""
    if type(new) is Part:
        return None if new.twin is None or (type(old) is Part and old.twin == new.twin) else set_to(new.twin)
    assert type(new) is ListPart
    at = _kept(old, new)
    if at is None or type(old) is not ListPart or old.kind != MIXED or not old.fits or new.codes[:at] != old.codes:
        return set_to(_joined(new.codes))
    return None if at == len(new.items) else append(at, _joined(new.codes[at:]))


def has_twin(part: AnyPart | None) -> bool:
    """Whether something is hidden beside the value."""
    return part is not None and part.kind in (TYPED, MIXED)


def fits(part: AnyPart) -> bool:
    """Whether what is stored beside the value, if anything has to be, is that of this value."""
    return type(part) is not ListPart or part.fits


def _kept(old: AnyPart | None, new: ListPart) -> int | None:
    """How many elements stand as they did, where those are all that there were; None where one does not."""
    if type(old) is not ListPart:
        return None
    # `grown` hands the very head on as long as nothing before it has changed.
    return len(old.items) if new.head is old.head and new.tail[: len(old.tail)] == old.tail else None


def _behind(part: ListPart, at: int) -> list[bytes]:
    return part.tail[len(part.tail) - (len(part.items) - at) :]


def _joined(texts: list[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


def corrupt(error: Exception) -> CorruptCheckpoint:
    """The one error for a state that cannot be read."""
    return CorruptCheckpoint(f"a stored state of a graph cannot be read: {type(error).__name__}")
