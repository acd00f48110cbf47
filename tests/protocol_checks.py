"""What the events of any run have to be like in the streaming protocol, whatever agent told them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TERMINAL = ("completed", "failed", "interrupted")
_FINAL = {"text", "reasoning", "tool_call", "invalid_tool_call", "server_tool_call", "server_tool_result", "image",
          "audio", "video", "file", "non_standard"}  # fmt: skip
Data = dict[str, Any]


@dataclass
class Message:
    """One message, as a reader puts it together."""

    id: str
    role: str
    namespace: tuple[str, ...]
    metadata: Data
    blocks: list[Data] = field(default_factory=list[Data])
    open: Data | None = None
    usage: Data | None = None
    error: str | None = None
    ended: bool = False

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    @property
    def reasoning(self) -> str:
        return "".join(block.get("reasoning", "") for block in self.blocks if block["type"] == "reasoning")

    @property
    def calls(self) -> list[Data]:
        return [block for block in self.blocks if block["type"] == "tool_call"]


@dataclass
class Tool:
    """One call of a tool."""

    name: str
    namespace: tuple[str, ...]
    input: Any
    deltas: str = ""
    output: Any = None
    error: str | None = None
    ended: bool = False


@dataclass
class Graph:
    """A subgraph or a sub-agent."""

    name: str
    cause: Data | None
    status: str | None = None
    error: str | None = None


@dataclass
class Told:
    """What a reader knows who has read all events of a run."""

    messages: dict[str, Message] = field(default_factory=dict[str, Message])
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    graphs: dict[tuple[str, ...], Graph] = field(default_factory=dict[tuple[str, ...], Graph])
    statuses: list[str] = field(default_factory=list[str])

    @property
    def status(self) -> str:
        return self.statuses[-1]

    def graph(self, *nodes: str) -> Graph:
        """The graph that stands in nodes of these names."""
        (found,) = (
            graph
            for namespace, graph in self.graphs.items()
            if tuple(segment.partition(":")[0] for segment in namespace) == nodes
        )
        return found

    def reads_as(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Every message of an AI that was told and ended well stands in the state as it was told."""
        stored = {message.get("id"): message for message in state}
        for message in self.messages.values():
            if message.role != "ai" or message.error is not None or message.id not in stored:
                continue
            kept = stored[message.id]
            assert message.text == _text_of(kept["content"]), message.id
            calls = [{key: call.get(key) for key in ("id", "name", "args")} for call in kept.get("tool_calls", [])]
            assert [{key: call[key] for key in ("id", "name", "args")} for call in message.calls] == calls
            usage = kept.get("usage") or {}
            assert (message.usage or {}).get("inputTokens") == usage.get("input_tokens")
            assert (message.usage or {}).get("outputTokens") == usage.get("output_tokens")


def check(events: Iterable[Data]) -> Told:
    """Reads all events of one run, in order; what breaks a rule of the protocol is an `AssertionError`."""
    reader = _Reader()
    for event in events:
        assert event["type"] == "event"
        namespace = tuple(event["params"]["namespace"])
        data = event["params"]["data"]
        assert reader.told.statuses == [] or reader.told.status not in TERMINAL, f"after the run's end: {event}"
        match event["method"]:
            case "messages":
                reader.message(namespace, data)
            case "tools":
                reader.tool(namespace, data)
            case "lifecycle":
                reader.lifecycle(namespace, data)
            case _:
                pass
    assert reader.told.statuses[-1:] != []
    assert reader.told.status in TERMINAL, "the run has no end"
    return reader.told


class _Reader:
    def __init__(self) -> None:
        self.told = Told()

    # messages

    def message(self, namespace: tuple[str, ...], data: Data) -> None:
        kind, id = data["event"], data["id"]
        if kind == "message-start":
            known = self.told.messages.get(id)
            assert known is None or known.ended, f"message {id} begins inside itself"
            assert data["role"] in ("ai", "human", "system")
            self._inside(namespace)
            metadata = data.get("metadata", {})
            assert all(value is None or isinstance(value, str | int | float | bool) for value in metadata.values())
            self.told.messages[id] = Message(id, data["role"], namespace, metadata)
            return
        message = self.told.messages[id]
        assert not message.ended, f"{kind} after the end of message {id}"
        assert message.namespace == namespace
        match kind:
            case "content-block-start":
                assert message.open is None, f"a block of message {id} begins inside another"
                assert data["index"] == len(message.blocks)
                message.open = dict(data["content"])
            case "content-block-delta":
                assert message.open is not None
                assert data["index"] == len(message.blocks)
                _add(message.open, data["delta"])
            case "content-block-finish":
                assert message.open is not None
                assert data["index"] == len(message.blocks)
                _fits(message.open, data["content"])
                message.blocks.append(data["content"])
                message.open = None
            case "message-finish":
                assert message.open is None, f"message {id} ends inside a block"
                message.usage, message.ended = data.get("usage"), True
            case "error":
                assert isinstance(data["message"], str)
                assert data["message"] != ""
                message.error, message.ended = data["message"], True
            case _:
                raise AssertionError(f"an unknown event of messages: {kind}")

    # tools

    def tool(self, namespace: tuple[str, ...], data: Data) -> None:
        kind, id = data["event"], data["toolCallId"]
        if kind == "tool-started":
            known = self.told.tools.get(id)
            assert known is None or known.ended, f"call {id} begins inside itself"
            self._inside(namespace)
            self.told.tools[id] = Tool(data["toolName"], namespace, data.get("input"))
            return
        tool = self.told.tools[id]
        assert not tool.ended, f"{kind} after the end of call {id}"
        assert tool.namespace == namespace
        match kind:
            case "tool-output-delta":
                assert isinstance(data["delta"], str)
                tool.deltas += data["delta"]
            case "tool-finished":
                tool.output, tool.ended = data["output"], True
            case "tool-error":
                assert isinstance(data["message"], str)
                assert data["message"] != ""
                tool.error, tool.ended = data["message"], True
            case _:
                raise AssertionError(f"an unknown event of tools: {kind}")

    # lifecycle

    def lifecycle(self, namespace: tuple[str, ...], data: Data) -> None:
        assert set(data) <= {"event", "graphName", "cause", "error", "checkpoint"}
        if not namespace:
            self._root(data["event"])
            return
        known = self.told.graphs.get(namespace)
        if data["event"] == "started":
            assert known is None or known.status is not None, f"{namespace} begins inside itself"
            assert data["graphName"]
            self.told.graphs[namespace] = Graph(data["graphName"], data.get("cause"))
        elif data["event"] in TERMINAL:
            assert known is not None, f"{namespace} ends without having begun"
            assert known.status is None, f"{namespace} ends twice"
            for inner, graph in self.told.graphs.items():
                inside = len(inner) > len(namespace) and inner[: len(namespace)] == namespace
                assert not inside or graph.status is not None, f"{namespace} ends before {inner}"
            assert (data["event"] == "failed") == ("error" in data)
            known.status, known.error = data["event"], data.get("error")

    def _root(self, event: str) -> None:
        statuses = self.told.statuses
        assert statuses or event == "started"
        assert event != "started" or not statuses
        statuses.append(event)
        if event == "running" and statuses.count("running") > 1:
            # Another attempt: what was not at its end is told anew.
            for told in (*self.told.messages.values(), *self.told.tools.values()):
                told.ended = True
            for graph in self.told.graphs.values():
                graph.status = graph.status or "interrupted"
        if event in TERMINAL:
            open_graphs = [name for name, graph in self.told.graphs.items() if graph.status is None]
            assert not open_graphs, f"the run ends before {open_graphs}"
            left = [message.id for message in self.told.messages.values() if not message.ended]
            assert not left, f"the run ends before messages {left}"
            # A tool that asked something is called again when there is an answer.
            waiting = [id for id, tool in self.told.tools.items() if not tool.ended]
            assert not waiting or event == "interrupted", f"the run ends before calls {waiting}"

    def _inside(self, namespace: tuple[str, ...]) -> None:
        """Whatever is told inside a graph is told while it executes."""
        if namespace:
            graph = self.told.graphs.get(namespace)
            assert graph is not None, f"{namespace} does not execute"
            assert graph.status is None, f"{namespace} does not execute"


def _add(block: Data, delta: Data) -> None:
    match delta["type"]:
        case "text-delta":
            block["text"] += delta["text"]
        case "reasoning-delta":
            block["reasoning"] = block.get("reasoning", "") + delta["reasoning"]
        case "data-delta":
            before = base64.b64decode(block.get("base64", ""))
            block["base64"] = base64.b64encode(before + base64.b64decode(delta["data"])).decode()
        case "tool-call-delta":
            block["args"] = (block.get("args") or "") + (delta.get("args") or "")
        case "block-delta":
            assert delta["fields"]["type"] == block["type"]
            block.update(delta["fields"])
        case _:
            raise AssertionError(f"an unknown delta: {delta}")


def _fits(put_together: Data, finished: Data) -> None:
    """The finished block is what its pieces make."""
    kind = finished["type"]
    assert kind in _FINAL
    if put_together["type"].endswith("tool_call_chunk"):
        assert kind in (put_together["type"].removesuffix("_chunk"), "invalid_tool_call")
        assert (finished["id"], finished["name"]) == (put_together["id"], put_together["name"])
        if kind != "invalid_tool_call":
            pieces = put_together["args"]
            # The last pieces of a call's arguments are told with its end.
            assert not pieces or json.dumps(finished["args"], separators=(",", ":"))[:1] == pieces[:1]
        return
    assert kind == put_together["type"]
    for key in ("text", "reasoning"):
        if put_together.get(key):
            assert finished[key] == put_together[key]
    if "base64" in put_together:
        assert base64.b64decode(finished["base64"]) == base64.b64decode(put_together["base64"])
    for key in put_together.keys() - {"text", "reasoning", "base64"}:
        assert finished[key] == put_together[key]


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else block.get("text", "")
        for block in content
        if isinstance(block, str) or block.get("type") == "text"
    )
