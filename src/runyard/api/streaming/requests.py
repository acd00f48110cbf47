"""What clients ask of the streaming protocol: subscriptions, and where they begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from runyard.api.validation import Shape, canonical_uuid
from runyard.api.wire import EVENT_ID, Wire
from runyard.errors import InvalidInput
from runyard.protocol.filters import Filter, check_channels
from runyard.protocol.frames import Cursor, cursor_of
from runyard.protocol.names import PARAMS, STREAM_REQUEST

_LARGEST = 2**53 - 1
_CHANNEL = "^(values|updates|messages|tools|lifecycle|input|checkpoints|tasks|custom|custom:.+)$"


class EventStreamRequest(Wire, kw_only=True, rename="camel"):
    """Which events of a thread to stream, and from where."""

    channels: Annotated[
        list[Annotated[str, Meta(extra_json_schema={"pattern": _CHANNEL})]],
        Meta(
            min_length=1,
            description="values, updates, messages, tools, lifecycle, input, checkpoints, tasks, custom, custom:NAME",
        ),
    ]
    namespaces: (
        Annotated[list[list[str]], Meta(description="Prefixes of namespaces; all where it is absent.")] | UnsetType
    ) = UNSET
    depth: (
        Annotated[int, Meta(ge=0, le=_LARGEST, description="How far below a prefix; any where it is absent.")]
        | UnsetType
    ) = UNSET
    since: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=_LARGEST,
                description="Replay what is behind this number; 0 is the start of the log. Where neither this nor "
                "sinceEventId is there: the state now, then what the newest run has told.",
            ),
        ]
        | UnsetType
    ) = UNSET
    since_event_id: (
        Annotated[
            str,
            Meta(
                description="The same, by the id of an event; it counts before since.",
                extra_json_schema={"pattern": EVENT_ID},
            ),
        ]
        | UnsetType
    ) = UNSET


SHAPE = Shape(EventStreamRequest)


class Wish(msgspec.Struct, frozen=True):
    """A subscription that a client asks for; `after` is None where it begins without a cursor."""

    wanted: Filter
    after: Cursor | None
    unknown: list[str]
    """Fields that are passed over, as the protocol asks."""


def stream_request(document: Mapping[str, Any], last_event_id: str | None) -> Wish:
    """The body that opens a stream of events, with either spelling of its keys.

    Raises:
        InvalidInput: naming the field.
    """
    return _wish(STREAM_REQUEST.spell(dict(document), "camel"), last_event_id)


def subscription(params: Mapping[str, Any]) -> Wish:
    """The parameters of `subscription.subscribe`.

    Raises:
        InvalidInput: naming the field.
    """
    return _wish(PARAMS["subscription.subscribe"].spell(dict(params), "camel"), None)


def _wish(document: dict[str, Any], last_event_id: str | None) -> Wish:
    asked = SHAPE.parse(document)
    check_channels(asked.channels)
    sent = None if last_event_id is None else cursor_of(last_event_id, "Last-Event-ID")
    if asked.since_event_id is not UNSET:
        after = cursor_of(asked.since_event_id, "sinceEventId")
    elif asked.since is not UNSET:
        after = Cursor(asked.since)
    else:
        after = sent
    namespaces = None if asked.namespaces is UNSET else asked.namespaces
    depth = None if asked.depth is UNSET else asked.depth
    return Wish(Filter(asked.channels, namespaces, depth), after, SHAPE.unknown(document))


class ReconnectRequest(Wire, kw_only=True, rename="camel"):
    """Which subscriptions to go on with, from where, and whose namespaces to tell."""

    run_id: str
    last_event_id: str | UnsetType = UNSET
    subscriptions: list[str] = msgspec.field(default_factory=list[str])


_RECONNECT = Shape(ReconnectRequest)


class Reconnection(msgspec.Struct, frozen=True):
    """A client that comes back."""

    run_id: str
    after: Cursor | None
    subscriptions: list[str]
    unknown: list[str]
    """As in `Wish`."""


def reconnection(params: Mapping[str, Any]) -> Reconnection:
    """The parameters of `subscription.reconnect`, by their own spelling.

    Raises:
        InvalidInput: naming the field.
    """
    asked = _RECONNECT.parse(dict(params))
    after = None if asked.last_event_id is UNSET else cursor_of(asked.last_event_id, "lastEventId")
    unknown = _RECONNECT.unknown(dict(params))
    return Reconnection(canonical_uuid("runId", asked.run_id), after, asked.subscriptions, unknown)


class Command(msgspec.Struct, frozen=True):
    """A command of a client."""

    id: int
    method: str
    params: dict[str, Any]


def command(document: Mapping[str, Any]) -> Command:
    """A command; its parameters have the protocol's own spelling by now.

    Raises:
        InvalidInput: it has no `id` that is a number from 0 on, no `method`, or `params` that are no object.
    """
    id, method, params = document.get("id"), document.get("method"), document.get("params", {})
    if type(id) is float and id.is_integer():  # a whole number, as JSON Schema has it
        id = int(id)
    if type(id) is not int or not 0 <= id <= _LARGEST:
        raise InvalidInput(f"id is {_brief(id)}; a whole number from 0 to 2^53 - 1 is needed", field="id")
    if type(method) is not str:
        raise InvalidInput(f"method is {_brief(method)}; the name of a command is needed", field="method")
    if type(params) is not dict:
        raise InvalidInput(f"params is {_brief(params)}; an object is needed", field="params")
    given = cast("dict[str, Any]", params)
    return Command(id, method, PARAMS[method].spell(given, "camel") if method in PARAMS else given)


def _brief(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()[:60]
