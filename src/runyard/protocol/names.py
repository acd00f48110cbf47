"""The protocol's own keys in both spellings.

The wire format is camelCase; the generated bindings of its clients are snake_case. Only keys that the protocol defines
are respelled, by the schema of the record that they stand in: what users put in (states, inputs, payloads, arguments,
metadata) passes as it is. Source: the protocol's CDDL, sections 2 to 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

Case = Literal["camel", "snake"]


class Record:
    """A record of the protocol: its keys of several words, and the records that its keys hold."""

    __slots__ = ("_camel", "_inner", "_snake")

    def __init__(self, *names: str, **inner: Record | Tagged | Many) -> None:
        pairs = [(name, _snake(name)) for name in (*names, *inner)]
        self._snake = {camel: snake for camel, snake in pairs if camel != snake}
        self._camel = {snake: camel for camel, snake in self._snake.items()}
        self._inner: Mapping[str, Record | Tagged | Many] = inner

    def holds(self, **inner: Record | Tagged | Many) -> Record:
        """Adds keys that hold records: for one that holds itself."""
        self._inner = {**self._inner, **inner}
        return self

    def spell(self, value: Any, case: Case) -> Any:
        """The record with its keys in one case, whichever they were in; what is no object stays as it is."""
        if type(value) is not dict:
            return value
        result: dict[str, Any] = {}
        for key, item in cast("dict[str, Any]", value).items():
            name = self._camel.get(key, key)
            inner = self._inner.get(name)
            spelled = name if case == "camel" else self._snake.get(name, name)
            result[spelled] = item if inner is None else inner.spell(item, case)
        return result


class Tagged:
    """One of several records, told apart by one of their keys; an unknown one is left as it is, but for `common`."""

    __slots__ = ("_common", "_records", "_tag")

    def __init__(self, tag: str, records: Mapping[str, Record], common: Record | None = None) -> None:
        self._tag = tag
        self._records = records
        self._common = common or Record()

    def spell(self, value: Any, case: Case) -> Any:
        """As `Record.spell`."""
        if type(value) is not dict:
            return value
        tag = cast("dict[str, Any]", value).get(self._tag)
        record = self._records.get(tag) if type(tag) is str else None
        return (record or self._common).spell(value, case)


class Many:
    """A list of records."""

    __slots__ = ("_of",)

    def __init__(self, of: Record | Tagged) -> None:
        self._of = of

    def spell(self, value: Any, case: Case) -> Any:
        """As `Record.spell`."""
        return [self._of.spell(item, case) for item in cast("list[Any]", value)] if type(value) is list else value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


_FILE = Record("fileId", "mimeType")
_ANNOTATIONS = Many(Tagged("type", {"citation": Record("startIndex", "endIndex", "citedText")}))
BLOCK = Tagged(
    "type",
    {
        "text": Record(annotations=_ANNOTATIONS),
        "image": _FILE,
        "audio": _FILE,
        "video": _FILE,
        "file": _FILE,
        "server_tool_result": Record("toolCallId"),
    },
)
USAGE = Record(
    "inputTokens",
    "outputTokens",
    "totalTokens",
    inputTokenDetails=Record("cacheCreation", "cacheRead"),
    outputTokenDetails=Record(),
)
MESSAGE_METADATA = Record("modelType", "runId", "threadId", "systemFingerprint", "serviceTier")
_MESSAGE = Tagged(
    "event",
    {
        "message-start": Record(metadata=MESSAGE_METADATA),
        "content-block-start": Record(content=BLOCK),
        "content-block-delta": Record(delta=Tagged("type", {"block-delta": Record(fields=BLOCK)})),
        "content-block-finish": Record(content=BLOCK),
        "message-finish": Record(usage=USAGE),
    },
)
_TOOL = Record("toolCallId", "toolName")
_REFERENCE = Record()
_LIFECYCLE = Record("graphName", cause=Record("toolCallId", "fromNode"), checkpoint=_REFERENCE)

EVENT_DATA: Mapping[str, Record | Tagged] = {
    "messages": _MESSAGE,
    "tools": _TOOL,
    "lifecycle": _LIFECYCLE,
    "input.requested": Record("interruptId"),
    "input.answered": Record("interruptIds"),
    "checkpoints": Record("parentId"),
}
"""The data of events whose keys are the protocol's, by method."""

_RESPONSE = Record("interruptId")
PARAMS: Mapping[str, Record] = {
    "run.start": Record("assistantId", "multitaskStrategy", "langsmithTracer", "streamMode"),
    "input.respond": Record("interruptId", responses=Many(_RESPONSE)),
    "subscription.subscribe": Record("sinceEventId"),
    "subscription.unsubscribe": Record("subscriptionId"),
    "subscription.reconnect": Record("runId", "lastEventId"),
    "agent.getTree": Record("runId"),
    "state.fork": Record("checkpointId"),
}
"""The parameters of commands, by method."""

STREAM_REQUEST = Record("sinceEventId")
"""The body that opens a stream of events."""

_TREE = Record("graphName")
_TREE.holds(children=Many(_TREE))
RESULTS: Mapping[str, Record] = {
    "run.start": Record("runId"),
    "subscription.subscribe": Record("subscriptionId", "replayedEvents"),
    "subscription.reconnect": Record("missedEvents", "currentNamespaces"),
    "agent.getTree": Record(tree=_TREE),
    "state.fork": Record("runId", "threadId"),
    "state.listCheckpoints": Record(checkpoints=Many(Record("nodeName"))),
}
"""The results of commands, by method."""
