"""LangGraph's checkpoints as states of a thread: what the graph reads again is what people see.

channel of the state      what it holds
any other name            the value of a channel of the graph: plain data, or messages in the protocol's form
"\\x01id"                  the checkpoint's id (`checkpoints.NAME`)
"\\x01graph"               the header: versions, metadata, and how the other channels are to be read
"\\x01t:" + name           a value (of a list: each element) that plain data do not give back, beside what is shown
"\\x01i:" + name           a channel of LangGraph's own, which nobody is shown

A step's changes cost what it changed: a value whose version stayed is not looked at, of a list that grew only the tail
is written.
"""

from __future__ import annotations

import base64
import uuid
import zlib
from collections.abc import Collection, Mapping
from typing import Any, Literal, cast

import msgspec
from langchain_core.messages import BaseMessage

from runyard.checkpoints import HIDDEN, NAME, Changes, State, append, removal, set_to, shown
from runyard.runtime.langgraph.exact import is_exact
from runyard.runtime.langgraph.messages import Inexact, from_protocol, to_protocol
from runyard.runtime.langgraph.typed import CorruptCheckpoint, Typed
from runyard.runtime.langgraph.types import Type, Types
from runyard.runtime.langgraph.values import project
from runyard.runtime.state import MESSAGES

HEADER = HIDDEN + "graph"
TYPED = HIDDEN + "t:"
INTERNAL = HIDDEN + "i:"
INTERNALS = ("__", "branch:", "join:")
"""With what the names of LangGraph's own channels begin."""
SHOWN_AS = {"__root__": "output", "__end__": "output"}
"""Channels of LangGraph's own that hold what a graph gives: they are shown under another name."""

Form = Literal["p", "m", "M", "t", "T"]
"""How a channel's value is written: as plain data, as a message, as a list of messages, as a typed value, as a list of
typed elements."""

_encode = msgspec.json.Encoder().encode
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS = msgspec.json.Decoder(list[str])


class Header(msgspec.Struct, omit_defaults=True):
    """What a checkpoint has beside its channels. The names are short, for it is written at every step."""

    v: int = 1
    ts: str = ""
    parent: str | None = None
    versions: dict[str, int | float | str] = {}
    seen: dict[str, dict[str, int | float | str]] = {}
    updated: list[str] | None = None
    about: dict[str, Any] = {}
    """The metadata."""
    forms: dict[str, Form] = {}
    """Of channels that are not plain data."""
    sums: dict[str, int] = {}
    """Of typed channels: the checksum of what was shown with them. A client may have changed that since."""
    small: dict[str, Any] = {}
    """Internal channels with plain values: triggers and the like."""
    named: dict[str, str] = {}
    """What is shown under another name -> the channel."""
    more: dict[str, Any] = {}
    """What else LangGraph's checkpoint holds."""
    typed: str = ""
    """The metadata and the rest, where they are no plain data."""


_HEADER = msgspec.json.Decoder(Header)


class Held:
    """One channel as it was last written or read: its value, and the texts that the state has of it."""

    __slots__ = ("elements", "form", "shown", "twin", "value", "version")

    def __init__(self, version: Any, form: Form, value: Any, shown: bytes, twin: bytes | None = None) -> None:
        self.version = version
        self.form: Form = form
        # A list is copied: what it held is told by the elements, whatever the graph does to the list.
        self.value: Any = [*cast("list[Any]", value)] if isinstance(value, list) else value
        self.shown = shown
        self.twin = twin
        self.elements: list[bytes] | None = None

    def texts(self) -> list[bytes]:
        """The texts of a list's elements, as they tell whether an element has changed."""
        if self.elements is None:
            if self.form == "T":
                self.elements = [text.encode() for text in _TEXTS.decode(self.twin or b"[]")]
            else:
                self.elements = [bytes(raw) for raw in _RAWS.decode(self.shown)]
        return self.elements


class Known:
    """What is known of a state that was written or read."""

    __slots__ = ("channels", "hidden")

    def __init__(self, channels: dict[str, Held], hidden: Mapping[str, bytes]) -> None:
        self.channels = channels
        self.hidden = hidden
        """Texts of internal channels, by their names in the state."""


class Codec:
    """Writes and reads the checkpoints of one graph."""

    def __init__(self, types: Types | None = None) -> None:
        """`types` are the classes whose objects a state may hold."""
        self._typed = Typed(types or Types())

    def with_types(self, types: Collection[Type]) -> Codec:
        """The same for more classes."""
        made = Codec()
        made._typed = self._typed.with_types(types)
        return made

    # checkpoints

    def encode(
        self,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        *,
        parent_id: str | None,
        known: Known | None,
        touched: Collection[int] | None,
    ) -> tuple[Changes, Known]:
        """The changes that make the state of `known` (None: of nothing) that of the checkpoint, and what is known then.

        `touched` are the ids of the objects that tasks returned since: one that is in a list still may have been
        changed in place. None: any may.

        Raises:
            NotSerialisable: a value that could not be read again, named by its channel.
        """
        values: Mapping[str, Any] = checkpoint["channel_values"]
        versions: Mapping[str, Any] = checkpoint["channel_versions"]
        changes: Changes = {}
        channels: dict[str, Held] = {}
        hidden: dict[str, bytes] = {}
        before = known.channels if known is not None else {}
        header = Header(
            v=checkpoint.get("v", 1),
            ts=checkpoint.get("ts", ""),
            parent=parent_id,
            versions=dict(versions),
            seen=checkpoint["versions_seen"],
            updated=checkpoint.get("updated_channels"),
        )
        for name, value in values.items():
            if name.startswith(INTERNALS) and name not in SHOWN_AS:
                self._internal(name, value, header, hidden)
                continue
            place = SHOWN_AS.get(name, name)
            if place != name:
                header.named[place] = name
            held = before.get(place)
            if held is None or held.version is None or held.version != versions.get(name):
                held = self._channel(place, value, versions.get(name), held, touched, changes)
            channels[place] = held
            if held.form != "p":
                header.forms[place] = held.form
            if held.twin is not None:
                header.sums[place] = zlib.crc32(held.shown)
        self._about(checkpoint, metadata, header)
        _settle(changes, known, channels, hidden)
        changes[NAME] = set_to(_encode(checkpoint["id"]))
        changes[HEADER] = set_to(_encode(header))
        return changes, Known(channels, hidden)

    def decode(self, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None, Known]:
        """The checkpoint, its metadata, the id of its parent, and what is known of the state.

        Raises:
            CorruptCheckpoint: what is stored is damaged.
        """
        try:
            return self._decode(state)
        except CorruptCheckpoint:
            raise
        except (Exception, RecursionError) as error:
            raise CorruptCheckpoint(f"a stored state cannot be read: {type(error).__name__}: {error}") from None

    def _decode(self, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None, Known]:
        text = state.get(HEADER)
        if text is None:
            return self._foreign(state)
        header = _HEADER.decode(text)
        values: dict[str, Any] = {}
        channels: dict[str, Held] = {}
        hidden: dict[str, bytes] = {}
        for place, shown_text in state.items():
            if place[:1] == HIDDEN:
                if place.startswith(INTERNAL):
                    hidden[place] = shown_text
                    values[place[len(INTERNAL) :]] = self._read_text(shown_text)
                continue
            name = header.named.get(place, place)
            held = self._read(place, shown_text, state.get(TYPED + place), header)
            held.version = header.versions.get(name)
            values[name], channels[place] = held.value, held
            if held.form in ("M", "T", "p") and isinstance(cast(object, held.value), list):
                values[name] = [*held.value]  # what is known must not change with the graph's
        values.update(header.small)
        about, more = dict(header.about), header.more
        if header.typed:
            typed = cast("dict[str, dict[str, Any]]", self._read_text(_encode(header.typed)))
            about, more = {**about, **typed["about"]}, {**more, **typed["more"]}
        checkpoint = {
            "v": header.v,
            "id": msgspec.json.decode(state[NAME], type=str),
            "ts": header.ts,
            "channel_values": values,
            "channel_versions": header.versions,
            "versions_seen": header.seen,
            "updated_channels": header.updated,
            **more,
        }
        return checkpoint, about, header.parent, Known(channels, hidden)

    def _foreign(self, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None, Known]:
        """A state that no graph has made: a client's or a function agent's."""
        channels = {place: self._read(place, text, None, None) for place, text in shown(state).items()}
        for held in channels.values():
            held.version = None
        checkpoint: dict[str, Any] = {
            "v": 1,
            "id": str(uuid.UUID(int=0)),
            "ts": "",
            "channel_values": {place: held.value for place, held in channels.items()},
            "channel_versions": dict.fromkeys(channels, 1),
            "versions_seen": {},
            "updated_channels": None,
        }
        return checkpoint, {"source": "update", "step": -1, "parents": {}}, None, Known(channels, {})

    # pending writes

    def encode_write(self, value: Any) -> bytes:
        """What a task gave to a channel, in bytes.

        Raises:
            NotSerialisable: it could not be read again.
        """
        plain = self._plain(value)
        if plain is not None:
            return plain[0].encode() + plain[1]
        return b"t" + self._typed.write(value, "what a node returned")

    def decode_write(self, text: bytes) -> Any:
        """The inverse of `encode_write`.

        Raises:
            CorruptCheckpoint: it is damaged.
        """
        form, body = text[:1], text[1:]
        if form == b"t":
            return self._typed.read(body)
        try:
            value: Any = msgspec.json.decode(body)
            if form == b"M":
                return [from_protocol(message) for message in value]
            return from_protocol(value) if form == b"m" else value
        except (Exception, RecursionError) as error:
            raise CorruptCheckpoint(f"a stored write cannot be read: {type(error).__name__}: {error}") from None

    # one channel

    def _channel(
        self,
        place: str,
        value: Any,
        version: Any,
        before: Held | None,
        touched: Collection[int] | None,
        changes: Changes,
    ) -> Held:
        if type(value) is list and before is not None and isinstance(cast(object, before.value), list):
            grown = self._grown(place, cast("list[Any]", value), version, before, touched, changes)
            if grown is not None:
                return grown
        plain = self._plain(value)
        if plain is not None:
            held = Held(version, plain[0], value, plain[1])
        elif isinstance(value, list):
            held = self._typed_list(place, cast("list[Any]", value), version)
        else:
            twin = _base64(self._typed.write(value, f"state.{place}"))
            held = Held(version, "t", value, _encode(project(value)), twin)
        if before is None or before.shown != held.shown:
            changes[place] = set_to(held.shown)
        if held.twin is not None and (before is None or before.twin != held.twin):
            changes[TYPED + place] = set_to(held.twin)
        return held

    def _grown(
        self,
        place: str,
        value: list[Any],
        version: Any,
        before: Held,
        touched: Collection[int] | None,
        changes: Changes,
    ) -> Held | None:
        """A list that is the one before with a tail; None where it is not, or the tail is of another form."""
        old: list[Any] = before.value
        length = len(old)
        if len(value) < length:
            return None
        for index, element in enumerate(old):
            same = value[index] is element and touched is not None and id(element) not in touched
            if not same and self._element(place, value[index], before.form) != before.texts()[index]:
                return None
        tail = value[length:]
        texts = [self._element(place, element, before.form) for element in tail]
        if None in texts:
            return None
        held = Held(version, before.form, value, before.shown, before.twin)
        held.elements = before.elements
        if not tail:
            return held
        if before.form == "T":
            twins = b"[" + b",".join(b'"' + cast(bytes, text) + b'"' for text in texts) + b"]"
            seen = _encode([project(element) for element in tail])
            changes[TYPED + place] = append(length, twins)
            held.twin = _joined(before.twin or b"[]", twins)
        else:
            seen = b"[" + b",".join(cast("list[bytes]", texts)) + b"]"
        changes[place] = append(length, seen)
        held.shown = _joined(before.shown, seen)
        if held.elements is not None:
            held.elements = [*held.elements, *cast("list[bytes]", texts)]
        return held

    def _element(self, place: str, element: Any, form: Form) -> bytes | None:
        """The text of an element of a list of this form; None where it cannot have one."""
        if form == "M":
            return _message(element)
        if form == "T":
            return _base64(self._typed.write(element, f"state.{place}"))[1:-1]
        return _encode(element) if form == "p" and is_exact(element) else None

    def _typed_list(self, place: str, value: list[Any], version: Any) -> Held:
        twins = [_base64(self._typed.write(element, f"state.{place}")) for element in value]
        shown_text = _encode([project(element) for element in value])
        return Held(version, "T", value, shown_text, b"[" + b",".join(twins) + b"]")

    def _plain(self, value: Any) -> tuple[Form, bytes] | None:
        """The form and text of a value that they give back as it is; None where there are none."""
        if isinstance(value, BaseMessage):
            text = _message(value)
            return None if text is None else ("m", text)
        if type(value) is list and value and isinstance(value[0], BaseMessage):
            texts = [_message(element) for element in cast("list[Any]", value)]
            return None if None in texts else ("M", b"[" + b",".join(cast("list[bytes]", texts)) + b"]")
        return ("p", _encode(value)) if is_exact(value) else None

    def _read(self, place: str, text: bytes, twin: bytes | None, header: Header | None) -> Held:
        form: Form = "p"
        if header is not None:
            form = header.forms.get(place, "p")
        elif place == MESSAGES:
            form = "M"
        if form in ("t", "T") and (twin is None or header is None or header.sums.get(place) != zlib.crc32(text)):
            form, twin = "p", None  # a client has put something else there
        value: Any
        if form == "T" and twin is not None:
            value = [self._typed.read(base64.b64decode(part)) for part in _TEXTS.decode(twin)]
        elif form == "t" and twin is not None:
            value = self._typed.read(base64.b64decode(msgspec.json.decode(twin, type=str)))
        else:
            value = msgspec.json.decode(text)
        if form == "M":
            if not isinstance(value, list):
                form = "p"
            else:
                value = [_as_message(element) for element in cast("list[Any]", value)]
        elif form == "m":
            value = _as_message(value)
        held = Held(None, form, value, text, twin)
        if form == "M" and not all(isinstance(element, BaseMessage) for element in held.value):
            held.form = "p"
        return held

    # what is not shown

    def _internal(self, name: str, value: Any, header: Header, hidden: dict[str, bytes]) -> None:
        if not name.startswith("__") and is_exact(value):
            header.small[name] = value
        else:
            hidden[INTERNAL + name] = _encode(base64.b64encode(self.encode_write(value)).decode())

    def _about(self, checkpoint: Mapping[str, Any], metadata: Mapping[str, Any], header: Header) -> None:
        more = {key: value for key, value in checkpoint.items() if key not in _FIELDS}
        header.about = {key: value for key, value in metadata.items() if is_exact(value)}
        header.more = {key: value for key, value in more.items() if is_exact(value)}
        rest = {
            "about": {key: value for key, value in metadata.items() if key not in header.about},
            "more": {key: value for key, value in more.items() if key not in header.more},
        }
        if any(rest.values()):
            header.typed = base64.b64encode(self.encode_write(rest)).decode()

    def _read_text(self, text: bytes) -> Any:
        return self.decode_write(base64.b64decode(msgspec.json.decode(text, type=str)))


_FIELDS = ("v", "id", "ts", "channel_values", "channel_versions", "versions_seen", "updated_channels")


def _settle(changes: Changes, known: Known | None, channels: Mapping[str, Held], hidden: Mapping[str, bytes]) -> None:
    """Adds the internal channels, and the removal of what is there no more."""
    before: Mapping[str, bytes] = known.hidden if known is not None else {}
    for name, text in hidden.items():
        if before.get(name) != text:
            changes[name] = set_to(text)
    for name in before:
        if name not in hidden:
            changes[name] = removal()
    for place, held in (known.channels if known is not None else {}).items():
        now = channels.get(place)
        if now is None:
            changes[place] = removal()
        if held.twin is not None and (now is None or now.twin is None):
            changes[TYPED + place] = removal()


def _message(message: Any) -> bytes | None:
    if not isinstance(message, BaseMessage):
        return None
    try:
        return _encode(to_protocol(message))
    except Inexact:
        return None


def _as_message(value: Any) -> Any:
    """A message where the value has the form of one; clients may have put other things beside."""
    if isinstance(value, dict) and ("role" in value or "type" in value):
        return from_protocol(cast("dict[str, Any]", value))
    return cast(Any, value)


def _base64(text: bytes) -> bytes:
    return b'"' + base64.b64encode(text) + b'"'


def _joined(head: bytes, tail: bytes) -> bytes:
    if tail == b"[]":
        return head
    return tail if head == b"[]" else head[:-1] + b"," + tail[1:]
