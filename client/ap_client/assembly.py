"""From the events of the messages channel to whole messages. No input and output in here.

A message is known by its `id`. Servers that say the id only in `message-start` are understood by the namespace and the
node: such messages do not overlap.
"""

from collections.abc import Mapping
from typing import Any, cast

from ap_client.thread_events import Position, ThreadEvent, said

STREAMING, COMPLETE, FAILED, DROPPED = "streaming", "complete", "failed", "dropped"
_BEGUN_BY: Mapping[str, str] = {
    "text-delta": "text",
    "reasoning-delta": "reasoning",
    "data-delta": "file",
    "tool-call-delta": "tool_call_chunk",
}
_APPENDED: Mapping[str, tuple[str, str]] = {
    # What a delta says, and the field of the block that it goes to the end of.
    "text-delta": ("text", "text"),
    "reasoning-delta": ("reasoning", "reasoning"),
    "data-delta": ("data", "base64"),
    "tool-call-delta": ("args", "args"),
}


class MessageState:
    """A message, as far as it has been told.

    `status` is streaming, complete, failed (the model's call: see `error`) or dropped: its attempt ended before it was
    whole, and the next one tells another in its place.
    """

    def __init__(self, message_id: str, role: str, event: ThreadEvent, metadata: Mapping[str, Any]) -> None:
        self.id = message_id
        self.role = role
        self.namespace = event.namespace
        self.node = event.node
        self.run_id = event.run_id
        self.metadata = dict(metadata)
        self.status = STREAMING
        self.usage: dict[str, Any] | None = None
        self.error: tuple[str | None, str] | None = None
        self.begun_at: Position | None = event.position
        self.pieces: list[str] = []
        self._blocks: dict[int, dict[str, Any]] = {}
        # How much of each text block is among the pieces.
        self._told: dict[int, int] = {}

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """Its content blocks, in their order."""
        return [self._blocks[index] for index in sorted(self._blocks)]

    def start(self, index: int, block: Mapping[str, Any]) -> None:
        """A block begins, or is told anew."""
        self._blocks[index] = dict(block)
        self._tell(index)

    finish = start

    def append(self, index: int, delta: Mapping[str, Any]) -> None:
        """A block grows. A delta of a kind that is not known changes nothing."""
        kind = str(delta.get("type"))
        if kind == "block-delta":
            fields = delta.get("fields")
            if isinstance(fields, Mapping):
                self._blocks.setdefault(index, {}).update(cast("Mapping[str, Any]", fields))
                self._tell(index)
        elif kind in _APPENDED:
            source, target = _APPENDED[kind]
            block = self._blocks.setdefault(index, {"type": _BEGUN_BY[kind]})
            # Arguments and texts may be null, which is no text yet.
            block[target] = (block.get(target) or "") + (delta.get(source) or "")
            self._tell(index)

    def _tell(self, index: int) -> None:
        block = self._blocks[index]
        text = block.get("text")
        if block.get("type") != "text" or not isinstance(text, str):
            return
        told = self._told.get(index, 0)
        if len(text) > told:
            self.pieces.append(text[told:])
            self._told[index] = len(text)


class Assembler:
    """Feed it the events of the messages channel of a thread, get messages; they grow as it is fed."""

    def __init__(self) -> None:
        self._by_id: dict[str, MessageState] = {}
        self._by_place: dict[tuple[tuple[str, ...], str | None], MessageState] = {}

    def feed(self, event: ThreadEvent) -> MessageState | None:
        """The message that begins with this event; None where it begins none."""
        data: Any = event.data
        if not isinstance(data, Mapping):
            return None
        match said(data, "event"):
            case "message-start":
                return self._begin(event, str(said(data, "id") or ""), said(data, "role"), said(data, "metadata"))
            case "content-block-start" | "content-block-finish":
                message, new = self._of(event)
                block = said(data, "content")
                if isinstance(block, Mapping):
                    message.start(_index(data), cast("Mapping[str, Any]", block))
            case "content-block-delta":
                message, new = self._of(event)
                delta = said(data, "delta")
                if isinstance(delta, Mapping):
                    message.append(_index(data), cast("Mapping[str, Any]", delta))
            case "message-finish":
                message, new = self._of(event)
                message.usage = said(data, "usage") or message.usage
                self._end(message, COMPLETE)
            case "error":
                message, new = self._of(event)
                message.error = (said(data, "code"), str(said(data, "message")))
                self._end(message, FAILED)
            case _:
                return None
        return message if new else None

    def drop(self, run_id: str | None = None, before: Position | None = None) -> None:
        """Messages of this run (of all, where none is named) that are not whole will not become so.

        `before` leaves those alone that began at a later place in the log.
        """
        for message in self.unfinished:
            if run_id is not None and message.run_id not in (run_id, None):
                continue
            if before is None or message.begun_at is None or message.begun_at < before:
                self._end(message, DROPPED)

    @property
    def unfinished(self) -> list[MessageState]:
        """The messages that are being told."""
        found = {id(each): each for each in (*self._by_id.values(), *self._by_place.values())}
        return list(found.values())

    def _begin(self, event: ThreadEvent, message_id: str, role: Any, metadata: Any) -> MessageState:
        given: Mapping[str, Any] = cast("Mapping[str, Any]", metadata) if isinstance(metadata, Mapping) else {}
        message = MessageState(message_id, str(role or "ai"), event, given)
        earlier = self._by_id.get(message_id)
        if earlier is not None:
            # The same message is told anew.
            self._end(earlier, DROPPED)
        if message_id:
            self._by_id[message_id] = message
        self._by_place[event.namespace, event.node] = message
        return message

    def _of(self, event: ThreadEvent) -> tuple[MessageState, bool]:
        """The message that an event goes on with, and whether it begins here: its start was not told."""
        named = said(event.data, "id") or said(event.data, "messageId")
        if isinstance(named, str) and named:
            found = self._by_id.get(named)
        else:
            found = self._by_place.get((event.namespace, event.node))
        if found is not None:
            return found, False
        return self._begin(event, named if isinstance(named, str) else "", None, None), True

    def _end(self, message: MessageState, status: str) -> None:
        message.status = status
        if self._by_id.get(message.id) is message:
            del self._by_id[message.id]
        place = (message.namespace, message.node)
        if self._by_place.get(place) is message:
            del self._by_place[place]


def text_of(blocks: list[dict[str, Any]]) -> str:
    """The text that a message's blocks say."""
    return _joined(blocks, "text")


def reasoning_of(blocks: list[dict[str, Any]]) -> str:
    """The reasoning that a message's blocks say."""
    return _joined(blocks, "reasoning")


def tool_calls_of(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks that call tools: `tool_call` when whole, `tool_call_chunk` before, `invalid_tool_call`."""
    kinds = ("tool_call", "tool_call_chunk", "invalid_tool_call")
    return [block for block in blocks if block.get("type") in kinds]


def _joined(blocks: list[dict[str, Any]], kind: str) -> str:
    return "".join(str(block.get(kind) or "") for block in blocks if block.get("type") == kind)


def _index(data: Any) -> int:
    index = said(data, "index")
    return index if isinstance(index, int) else 0
