"""Messages of models that tell by events what they write (`astream_events(version="v3")`), not by pieces.

    message-start
      content-block-start, content-block-delta ..., content-block-finish   (those of several blocks may interleave)
    message-finish, or error

They come as LangChain's callbacks give them, are told in the streaming protocol as all messages are, and as pieces on
run streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from runyard.events import Entry, entry
from runyard.protocol import messages
from runyard.protocol.blocks import Blocks, Item
from runyard.runtime.describe import described
from runyard.runtime.langgraph.pieces import Metadata, about_model
from runyard.runtime.langgraph.values import project

Event = Mapping[str, Any]

_ROLES = {"ai": "assistant", "human": "user"}
"""Those of the wire that the Agent Protocol calls otherwise."""
_TEXTS = ("text", "reasoning")
_CHUNKS = {"tool_call_chunk": "tool_call", "server_tool_call_chunk": "server_tool_call"}
_CALLS = ("tool_call", "invalid_tool_call")

_encode = msgspec.json.Encoder().encode


class _Block:
    """One that is being written."""

    __slots__ = ("fields", "kind", "written")

    def __init__(self, content: Event) -> None:
        self.kind = str(content.get("type"))
        self.fields = dict(content)
        """What its start has said."""
        self.written = ""
        """What came of it: text, a part of the arguments, encoded data."""


class _Message:
    """One that is being written."""

    def __init__(self, id: str, role: str, path: str, metadata: Metadata, started: Event) -> None:
        about = {**about_model(metadata), **cast("dict[str, Any]", started.get("metadata") or {})}
        self._tells = Blocks(id, role, None, about)
        self._form: dict[str, Any] = {"role": _ROLES.get(role, role), "content": "", "id": id, "delta": True}
        if metadata.get("langgraph_node") is not None:
            self._form["node"] = metadata["langgraph_node"]
        self._path = path
        self._blocks: dict[Any, _Block] = {}
        self._at: Any = None
        """The block to which something was added last: no other is open where it is told."""
        self._held: list[Item] = []
        """Ends of blocks, to be told with what comes next: run streams have no pieces for them."""
        self.ended = False

    def tell(self, event: Event) -> list[Entry]:
        """What one event adds."""
        if self.ended:
            return []
        match event.get("event"):
            case "content-block-start":
                return self._begin(event.get("index"), event["content"])
            case "content-block-delta":
                return self._add(event.get("index"), event.get("delta") or {})
            case "content-block-finish":
                return self._finish(event.get("index"), event["content"])
            case "message-finish":
                return self._end(event)
            case "error":
                return self.fail(str(event.get("message") or "the model failed"))
            case _:
                return []

    def fail(self, why: str | None) -> list[Entry]:
        """It ends before it was written to its end; None: it was, but the model did not say so."""
        if self.ended:
            return []
        self.ended = True
        items = [*self._held, *(self._tells.finish() if why is None else self._tells.fail(why))]
        return [entry("blocks", project(items), self._path)]

    # events

    def _begin(self, index: Any, content: Event) -> list[Entry]:
        block = self._blocks[index] = _Block(content)
        if block.kind not in _CHUNKS:
            return []
        id, name = content.get("id"), content.get("name")
        return self._call(index, block, id, name, str(content.get("args") or ""))

    def _add(self, index: Any, delta: Event) -> list[Entry]:
        block = self._blocks.get(index)
        if block is None:
            return []
        match delta.get("type"):
            case "text-delta":
                return self._text(index, block, "text", str(delta.get("text") or ""))
            case "reasoning-delta":
                return self._text(index, block, "reasoning", str(delta.get("reasoning") or ""))
            case "tool-call-delta":
                return self._call(index, block, None, None, str(delta.get("args") or ""))
            case "data-delta":
                return self._data(index, block, str(delta.get("data") or ""))
            case "block-delta":
                return self._change(index, block, delta.get("fields") or {})
            case _:  # its finish has all of it
                return []

    def _change(self, index: Any, block: _Block, fields: Event) -> list[Entry]:
        if block.kind in _CHUNKS:  # the arguments as they are now
            args = str(fields.get("args") or "")
            added = args[len(block.written) :] if args.startswith(block.written) else ""
            return self._call(index, block, fields.get("id"), fields.get("name"), added)
        block.fields.update(fields)
        return []

    def _finish(self, index: Any, content: Event) -> list[Entry]:
        block = self._blocks.pop(index, None) or _Block(content)
        kind = str(content.get("type"))
        if kind in _TEXTS:
            told = [] if block.written else self._text(index, block, kind, str(content.get(kind) or ""))
            more = {key: value for key, value in content.items() if key not in ("type", "index", "id", kind)}
            if self._at == index:
                fields = [] if not more else [*self._tells.open(kind), *self._tells.fields(more)]
                self._held += [*fields, *self._tells.close()]
            return told
        if kind in _CALLS or block.kind in _CHUNKS:
            if block.written:
                return []  # it ends where another block begins, or the message ends
            args: Any = content.get("args")
            text = args if type(args) is str else _encode(project(args or {})).decode()
            return self._call(index, block, content.get("id"), content.get("name"), text)
        if block.written:
            self._held += self._tells.close() if self._at == index else []
            return []
        whole = {key: value for key, value in content.items() if key != "index"}
        return [self._piece(self._tells.block(whole), content=[{**whole, "index": index}])]

    def _end(self, event: Event) -> list[Entry]:
        self.ended = True
        usage: Any = event.get("usage")
        told: dict[str, Any] = {"last": True}
        if usage:
            told["usage"] = usage
        beside = {"response_metadata": event.get("metadata"), "additional_kwargs": event.get("additional_kwargs")}
        metadata = {key: value for key, value in beside.items() if value}
        if metadata:
            told["metadata"] = metadata
        return [self._piece(self._tells.finish(usage), **told)]

    # what they are told as

    def _text(self, index: Any, block: _Block, kind: str, text: str) -> list[Entry]:
        if not text:
            return []
        block.written += text
        self._turn_to(index)
        if kind == "text":
            return [self._piece(self._tells.text(text), content=text)]
        form: list[Any] = [{"type": kind, kind: text, "index": index}]
        return [self._piece(self._tells.reasoning(text), content=form)]

    def _call(self, index: Any, block: _Block, id: str | None, name: str | None, args: str) -> list[Entry]:
        if block.written and not (args or id or name):
            return []
        block.written += args
        kind = _CHUNKS.get(block.kind, "tool_call")
        self._at = index
        items = self._tells.call(id, name, args, ("block", index), kind)
        chunk = {"type": f"{kind}_chunk", "name": name, "args": args, "id": id, "index": index}
        if kind == "tool_call":
            return [self._piece(items, tool_call_chunks=[chunk])]
        return [self._piece(items, content=[chunk])]

    def _data(self, index: Any, block: _Block, data: str) -> list[Entry]:
        fields = {key: value for key, value in block.fields.items() if key not in ("type", "index", "base64")}
        begun = {} if block.written else fields
        self._turn_to(index)
        block.written += data
        spelled = messages.block_of({"type": block.kind, **fields})
        items = [*self._tells.open(block.kind, spelled), *self._tells.data(block.kind, data)]
        return [self._piece(items, content=[{"type": block.kind, **begun, "base64": data, "index": index}])]

    def _turn_to(self, index: Any) -> None:
        if self._at != index:
            self._held += self._tells.close()
            self._at = index

    def _piece(self, items: list[Item], **added: Any) -> Entry:
        form = {**self._form, **added}
        items, self._held = [*self._held, *items], []
        return Entry("messages", _raw([form]), self._path, _raw(items))


class ModelEvents:
    """The messages of an attempt whose models tell them by events, by the calls of the models."""

    def __init__(self) -> None:
        self._open: dict[object, _Message] = {}
        self._ids: set[str] = set()
        """Of messages that have been told, and come as a whole once more."""
        self._metadata: dict[int, Metadata] = {}
        """id -> the metadata of calls of which a part may come as pieces, too; held, that no other gets its place."""

    def tell(self, call: object, event: Event, path: str, metadata: Metadata) -> list[Entry]:
        """What an event of a call adds."""
        if event.get("event") == "message-start":
            role = messages.role_of(event.get("role"))
            message_id = str(event.get("id") or f"lc_run--{call}")
            self._metadata[id(metadata)] = metadata
            if role is not None:
                self._open[call] = _Message(message_id, role, path, metadata, event)
            return []
        message = self._open.get(call)
        if message is None:
            return []
        try:
            return message.tell(event)
        except Exception as error:  # whatever a provider puts into an event: it is no reason to fail
            return message.fail(f"a part of it cannot be told: {described(error)}")

    def call_ended(self, call: object, error: str | None, message_id: str | None) -> list[Entry]:
        """A model has ended its call, and gave a message of that id."""
        message = self._open.pop(call, None)
        if message is None:
            return []
        if message_id is not None:
            self._ids.add(message_id)
        return message.fail(error)

    def tells(self, metadata: Metadata) -> bool:
        """Whether a piece with this metadata is told by events."""
        return id(metadata) in self._metadata

    def has_told(self, message_id: str | None, metadata: Metadata) -> bool:
        """Whether a whole message that comes now has been told by events; says so once. It is the last of its call."""
        if message_id is None or message_id not in self._ids:
            return False
        self._ids.discard(message_id)
        self._metadata.pop(id(metadata), None)
        return True

    def close(self, error: str | None) -> list[Entry]:
        """Ends whatever is open, as the attempt ends; `error`: why it was not written to its end."""
        left, self._open = list(self._open.values()), {}
        return [told for message in left for told in message.fail(error)]


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(project(value)))
