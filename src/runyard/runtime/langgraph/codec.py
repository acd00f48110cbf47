"""LangGraph's checkpoints as states of Runyard, and back.

    "messages"      what people see of a channel, as JSON
    "\\x01t:scores"   its twin: what JSON cannot give back, see `parts`; only where there is such
    "\\x01id"         the checkpoint's id (`checkpoints.NAME`)
    "\\x01names"      the names of channels and nodes; the others say their places in this list
    "\\x01about"      the metadata that stay the same from step to step
    "\\x01graph"      versions, the parent, what the step was, and LangGraph's own channels: written at each step

A client that changes a channel changes what is seen, and what is seen counts. Channels that a client added, and that
the graph does not have, stay as they are.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec

from runyard.checkpoints import HIDDEN, NAME, Changes, State, append, remove, set_to
from runyard.errors import CorruptCheckpoint
from runyard.runtime.langgraph.exact import is_plain
from runyard.runtime.langgraph.messages import exactly, from_protocol
from runyard.runtime.langgraph.parts import (
    MESSAGES,
    PLAIN,
    AnyPart,
    ListPart,
    Parts,
    corrupt,
    decode_json,
    encode_json,
    fits,
    has_twin,
    seen_change,
    twin_change,
)
from runyard.runtime.langgraph.typed import Typed
from runyard.runtime.langgraph.types import Type, Types
from runyard.runtime.state import MESSAGES as MESSAGES_CHANNEL

GRAPH = HIDDEN + "graph"
NAMES = HIDDEN + "names"
ABOUT = HIDDEN + "about"
TWIN = HIDDEN + "t:"

OUTPUT = "output"
"""The channel as which a state that is one value, or what an entrypoint returned, is seen."""
_AS_OUTPUT = ("__root__", "__end__")
INTERNAL = ("__", "branch:", "join:", "start:", HIDDEN)
"""With what the names of LangGraph's own channels begin."""

_FIRST_ID = "00000000-0000-6000-8000-000000000000"
"""The id of a state that no graph has written; LangGraph's own ids sort behind it."""
_FIRST_TS = "1970-01-01T00:00:00+00:00"
_FORMAT = 4
_STEPWISE = ("source", "step")
_KEYS = frozenset({"v", "id", "ts", "channel_values", "channel_versions", "versions_seen", "updated_channels"})


class Header(msgspec.Struct, array_like=True):
    """What a step writes of itself. Names are places in the list of names."""

    v: int
    ts: str
    parent: str | None
    versions: list[Any]
    """Name, version, name, version ..."""
    seen: list[list[Any]]
    """Per node: its name, then name, version ... of the channels that it has seen."""
    updated: list[int] | None
    step: list[Any]
    """Of the metadata: source and step (null where absent), and whether there are those."""
    shown: list[int]
    """Name, kind, name, kind ... of the channels that are seen."""
    inner: list[list[Any]] = []
    """LangGraph's own channels: name, form, value."""
    output: int | None = None
    """The channel that is seen as `output`."""
    more: list[Any] | None = None
    """The checkpoint's other keys: form and value of a mapping."""


_HEADER = msgspec.json.Decoder(Header)
_NAMES = msgspec.json.Decoder(list[str])


class Known:
    """What the encoder knows of a state: the objects in it, and their texts."""

    __slots__ = ("about", "foreign", "names", "parts", "places", "shown_as", "told", "twins", "versions")

    def __init__(self) -> None:
        self.parts: dict[str, AnyPart] = {}
        self.versions: dict[str, Any] = {}
        self.shown_as: dict[str, str] = {}
        """Channel -> the name as which it is seen, where that is another."""
        self.foreign: set[str] = set()
        """Channels that the graph has not written: clients have."""
        self.twins: set[str] = set()
        """The names of what is seen that have a twin, fitting or not."""
        self.names: list[str] = []
        self.places: dict[str, int] = {}
        self.about: bytes | None = None
        self.told: dict[str, Any] | None = None
        """What `about` is the text of, where it was written here."""

    def place(self, name: str) -> int:
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = len(self.names)
            self.names.append(name)
        return place


class Codec:
    """Encodes and decodes the states of graphs whose classes it was given. It keeps nothing between calls."""

    def __init__(self, types: Types | Collection[Type] = ()) -> None:
        """`types`: the classes (module, qualified name) whose objects a state may hold; see `Typed`."""
        self._types = types if isinstance(types, Types) else Types(types)
        self._typed = Typed(self._types)
        self._parts = Parts(self._typed)

    def with_types(self, types: Collection[Type]) -> Codec:
        """The same for more classes."""
        return Codec(self._types.also(types))

    # to a state

    def encode(
        self,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        *,
        parent_id: str | None,
        known: Known | None = None,
        touched: Collection[int] | None = None,
    ) -> tuple[Changes, Known]:
        """The changes that make a checkpoint of the state of which `known` tells (of nothing, without it), and what is
        known then. `touched` are the ids of objects that may have changed in place since; None: all may have.

        Raises:
            NotSerialisable: a channel holds what cannot be stored.
        """
        was = Known() if known is None else known
        now = Known()
        now.names, now.places, now.foreign = list(was.names), dict(was.places), set(was.foreign)
        values = cast("dict[str, Any]", checkpoint["channel_values"])
        now.versions = dict(checkpoint["channel_versions"])
        changes: Changes = {NAME: set_to(encode_json(checkpoint["id"]))}
        output = next((name for name in _AS_OUTPUT if name in values and OUTPUT not in values), None)
        inner: list[list[Any]] = []
        shown: list[int] = []
        for name, value in values.items():
            if name.startswith(INTERNAL) and name != output:
                inner.append([now.place(name), *self._form(value, name)])
                continue
            seen_as = OUTPUT if name == output else name
            if name == output:
                now.shown_as[name] = OUTPUT
            part = self._part(name, value, was, now.versions.get(name), touched)
            now.parts[name] = part
            now.foreign.discard(seen_as)
            empty = name == MESSAGES_CHANNEL and type(part) is ListPart and not part.items
            shown += (now.place(name), MESSAGES if empty else part.kind)
            old = was.parts.get(name) if was.shown_as.get(name, name) == seen_as else None
            if part is not old:
                seen = seen_change(old, part)
                if seen is not None:
                    changes[seen_as] = seen
            if has_twin(part):
                now.twins.add(seen_as)
                twin = None if part is old and fits(part) else twin_change(old, part)
                if twin is not None:
                    changes[TWIN + seen_as] = twin
        for name in was.parts:
            seen_as = was.shown_as.get(name, name)
            if seen_as in changes or name in now.foreign:
                continue
            if now.parts.get(name) is None or now.shown_as.get(name, name) != seen_as:
                changes[seen_as] = remove()
        for seen_as in was.twins - now.twins:
            changes[TWIN + seen_as] = remove()
        self._put_header(changes, checkpoint, metadata, parent_id, was, now, shown, inner, output)
        return changes, now

    def _part(self, name: str, value: Any, was: Known, version: Any, touched: Collection[int] | None) -> AnyPart:
        old = was.parts.get(name)
        place = f"state.{name}"
        if old is None:
            return self._parts.of(value, place)
        if version is not None and was.versions.get(name) == version and name not in was.foreign:
            return old
        return self._parts.grown(old, value, touched, place)

    def _put_header(
        self,
        changes: Changes,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        parent_id: str | None,
        was: Known,
        now: Known,
        shown: list[int],
        inner: list[list[Any]],
        output: str | None,
    ) -> None:
        about = {key: value for key, value in metadata.items() if key not in _STEPWISE}
        # From step to step it is the same: comparing is cheaper than writing.
        if was.about is not None and about == was.told:
            now.told, now.about = was.told, was.about
        else:
            now.told, now.about = about, encode_json(self._form(about, "the metadata"))
            if now.about != was.about:
                changes[ABOUT] = set_to(now.about)
        step = {key: metadata[key] for key in _STEPWISE if key in metadata}
        more = {key: value for key, value in checkpoint.items() if key not in _KEYS}
        updated = checkpoint.get("updated_channels")
        header = Header(
            v=checkpoint["v"],
            ts=checkpoint["ts"],
            parent=parent_id,
            versions=_flat(now, checkpoint["channel_versions"]),
            seen=[[now.place(node), *_flat(now, seen)] for node, seen in checkpoint["versions_seen"].items()],
            updated=None if updated is None else [now.place(name) for name in updated],
            step=self._form(step, "the metadata"),
            shown=shown,
            inner=inner,
            output=None if output is None else now.place(output),
            more=self._form(more, "the checkpoint") if more or "updated_channels" not in checkpoint else None,
        )
        changes[GRAPH] = set_to(encode_json(header))
        if len(now.names) > len(was.names):
            tail = encode_json(now.names[len(was.names) :])
            changes[NAMES] = append(len(was.names), tail) if was.names else set_to(tail)

    # from a state

    def decode(self, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None, Known]:
        """The checkpoint, its metadata, its parent's id and what is known of it. A state that no graph has written is a
        checkpoint of its channels, each of version 1.

        Raises:
            CorruptCheckpoint: what is hidden in the state is not what `encode` put there.
        """
        try:
            return self._decoded(state)
        except CorruptCheckpoint:
            raise
        except Exception as error:
            raise corrupt(error) from None

    def _decoded(self, state: State) -> tuple[dict[str, Any], dict[str, Any], str | None, Known]:
        known = Known()
        text = state.get(GRAPH)
        header = None if text is None else _HEADER.decode(text)
        values: dict[str, Any] = {}
        checkpoint: dict[str, Any] = {
            "v": _FORMAT if header is None else header.v,
            "id": msgspec.json.decode(state[NAME], type=str) if NAME in state else _FIRST_ID,
            "ts": _FIRST_TS if header is None else header.ts,
            "channel_values": values,
            "channel_versions": {},
            "versions_seen": {},
            "updated_channels": None,
        }
        metadata: dict[str, Any] = {"source": "update", "step": -1, "parents": {}}
        if header is not None:
            known.names = _NAMES.decode(state.get(NAMES, b"[]"))
            known.places = {name: place for place, name in enumerate(known.names)}
            metadata = self._read_header(header, state, known, checkpoint)
        taken = {known.shown_as.get(name, name) for name in known.parts}
        versions = cast("dict[str, Any]", checkpoint["channel_versions"])
        newest = max(versions.values(), default=1)
        for name, seen in state.items():
            if name[:1] == HIDDEN or name in taken:
                continue
            known.parts[name] = self._parts.read(MESSAGES if name == MESSAGES_CHANNEL else PLAIN, seen, None)
            known.foreign.add(name)
            versions.setdefault(name, newest)
        for name, part in known.parts.items():
            values[name] = part.items.copy() if type(part) is ListPart else cast(Any, part).value
        known.versions = dict(versions)
        known.twins = {name[len(TWIN) :] for name in state if name.startswith(TWIN)}
        return checkpoint, metadata, None if header is None else header.parent, known

    def _read_header(self, header: Header, state: State, known: Known, checkpoint: dict[str, Any]) -> dict[str, Any]:
        names = known.names

        def named(place: Any) -> str:
            if type(place) is not int or place < 0:
                raise CorruptCheckpoint("a stored state of a graph names what it does not know")
            return names[place]

        def pairs(flat: list[Any]) -> dict[str, Any]:
            if not all(type(version) in (int, float, str) for version in flat[1::2]):
                raise CorruptCheckpoint("a stored state of a graph has a version that is none")
            return {named(place): version for place, version in zip(flat[::2], flat[1::2], strict=True)}

        checkpoint["channel_versions"] = pairs(header.versions)
        checkpoint["versions_seen"] = {named(seen[0]): pairs(seen[1:]) for seen in header.seen}
        if header.updated is not None:
            checkpoint["updated_channels"] = [named(place) for place in header.updated]
        if header.more is not None:
            if header.updated is None:
                del checkpoint["updated_channels"]
            checkpoint.update(self._mapping(header.more, _KEYS))
        output = None if header.output is None else named(header.output)
        for place, kind in zip(header.shown[::2], header.shown[1::2], strict=True):
            name = named(place)
            seen_as = OUTPUT if name == output else name
            seen = None if seen_as[:1] == HIDDEN else state.get(seen_as)
            if seen is None:
                continue
            if name == output:
                known.shown_as[name] = OUTPUT
            known.parts[name] = self._parts.read(kind, seen, state.get(TWIN + seen_as))
        values = cast("dict[str, Any]", checkpoint["channel_values"])
        for place, *form in header.inner:
            values[named(place)] = self._value(form)
        known.about = state.get(ABOUT)
        about = {} if known.about is None else self._mapping(decode_json(known.about))
        return {**self._mapping(header.step), **about}

    def _mapping(self, form: Any, without: Collection[str] = ()) -> dict[str, Any]:
        value = self._value(form)
        if type(value) is not dict or not all(type(key) is str for key in cast("dict[Any, Any]", value)):
            raise CorruptCheckpoint("a stored state of a graph tells of itself in another form")
        return {key: item for key, item in cast("dict[str, Any]", value).items() if key not in without}

    # values of their own

    def encode_write(self, value: Any) -> bytes:
        """What a task gave, as bytes that say their own form.

        Raises:
            NotSerialisable: it cannot be stored.
        """
        if is_plain(value):
            return b"j" + encode_json(value)
        if type(value) is list:
            forms = [exactly(item) for item in cast("list[Any]", value)]
            if None not in forms:
                return b"l" + encode_json(forms)
        form = exactly(value)
        return b"t" + self._typed.dumps(value, "what a node returned") if form is None else b"m" + encode_json(form)

    def decode_write(self, data: bytes) -> Any:
        """The inverse of `encode_write`.

        Raises:
            CorruptCheckpoint: the bytes are not what it wrote.
        """
        try:
            match data[:1]:
                case b"j":
                    return decode_json(data[1:])
                case b"m":
                    return from_protocol(decode_json(data[1:]))
                case b"l":
                    return [from_protocol(form) for form in decode_json(data[1:])]
                case b"t":
                    return self._typed.loads(data[1:])
                case _:
                    raise CorruptCheckpoint("a stored write is of no known form")
        except CorruptCheckpoint:
            raise
        except Exception as error:
            raise corrupt(error) from None

    def _form(self, value: Any, place: str) -> list[Any]:
        """A value that nobody sees, in JSON: itself where JSON gives it back, base64 elsewhere."""
        if is_plain(value):
            return [0, value]
        return [1, base64.b64encode(self._typed.dumps(value, place)).decode()]

    def _value(self, form: Any) -> Any:
        kind, value = form
        if kind == 0:
            return value
        if kind != 1:
            raise CorruptCheckpoint("a stored value is of no known form")
        return self._typed.loads(base64.b64decode(value, validate=True))


def _flat(known: Known, versions: Mapping[str, Any]) -> list[Any]:
    flat: list[Any] = []
    for name, version in versions.items():
        flat += (known.place(name), version)
    return flat
