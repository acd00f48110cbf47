"""What the streaming protocol allows, and whether what a test sees is that.

Frames, commands and responses are held against the protocol's CDDL, whose rules stand here in a short form of our own,
and (respelled in snake_case) against the types that its authors publish for Python. A rule is chosen by hand for each
kind of event, delta and block: validators of CDDL take too much where a record is one of several.

The short form: `Name*` is an open record; a field's `?` says that it may be absent. Types: text, int, uint, bool, any,
object, scalar, `"const"`, `[type]`, `[type+]` (not empty), `type | type`, or the name of a record.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import cbor2
import langchain_protocol as bindings
import pycddl
from pydantic import ConfigDict, TypeAdapter, with_config

from runyard.protocol.names import EVENT_DATA, PARAMS, RESULTS, Case

Frame = dict[str, Any]

RECORDS = """
Text*: type "text", text text, id? text, index? int | text, annotations? [Annotation]
Reasoning*: type "reasoning", reasoning? text, id? text, index? int | text
ToolCall*: type "tool_call", id text | null, name text, args object, index? int | text
ToolCallChunk*: type "tool_call_chunk", id text | null, name text | null, args text | null, index? int | text
InvalidToolCall*: type "invalid_tool_call", id text | null, name text | null, args text | null, error text | null, index? int | text
ServerToolCall*: type "server_tool_call", id text, name text, args object, index? int | text
ServerToolCallChunk*: type "server_tool_call_chunk", id? text, name? text, args? text, index? int | text
ServerToolResult*: type "server_tool_result", toolCallId text, status "success" | "error", id? text, output? any, index? int | text
Data*: type "image" | "audio" | "video" | "file", id? text, fileId? text, url? text, base64? text, mimeType? text, index? int | text
NonStandard*: type "non_standard", value object, id? text, index? int | text
Annotation*: type "citation", id? text, url? text, title? text, startIndex? uint, endIndex? uint, citedText? text
TextDelta*: type "text-delta", text text
ReasoningDelta*: type "reasoning-delta", reasoning text
DataDelta*: type "data-delta", data text, encoding? "base64"
BlockDelta*: type "block-delta", fields BlockDeltaFields
BlockDeltaFields*: type text
ToolCallDelta*: type "tool-call-delta", args text
MessageMetadata: provider? text, model? text, modelType? text, runId? text, threadId? text, systemFingerprint? text, serviceTier? text, * scalar
MessageStart*: event "message-start", id text, role "ai" | "human" | "system", metadata? MessageMetadata
BlockStart*: event "content-block-start", id text, index uint, content any
BlockDeltaEvent*: event "content-block-delta", id text, index uint, delta any
BlockFinish*: event "content-block-finish", id text, index uint, content any
MessageFinish*: event "message-finish", id text, usage? Usage
MessageError*: event "error", id text, message text, code? text
Usage*: inputTokens? uint, outputTokens? uint, totalTokens? uint, inputTokenDetails? InputDetails, outputTokenDetails? OutputDetails
InputDetails*: audio? uint, cacheCreation? uint, cacheRead? uint
OutputDetails*: audio? uint, reasoning? uint
ToolStarted*: event "tool-started", toolCallId text, toolName text, input? any
ToolDelta*: event "tool-output-delta", toolCallId text, delta text
ToolFinished*: event "tool-finished", toolCallId text, output any
ToolError*: event "tool-error", toolCallId text, message text, code? text
Lifecycle: event Status, graphName? text, cause? ByCall | BySend | ByEdge, error? text, checkpoint? Reference
Status = "started" | "running" | "completed" | "failed" | "interrupted"
ByCall: type "toolCall", toolCallId text
BySend: type "send", fromNode text
ByEdge: type "edge", fromNode text
Requested*: interruptId text, payload any
Answered*: interruptIds [text]
Checkpoint*: id text, parentId? text, step int, source "input" | "loop" | "update" | "fork"
Updates*: node? text, values object
Custom*: name? text, payload any
Success*: type "success", id uint, result any, meta? Meta
Failure*: type "error", id uint | null, error ErrorCode, message text, stacktrace? text, meta? Meta
ErrorCode = "invalid_argument" | "unknown_command" | "unknown_error" | "no_such_run" | "no_such_subscription" | "no_such_namespace" | "no_such_interrupt" | "no_such_checkpoint" | "permission_denied" | "not_supported"
Meta*: appliedThroughSeq? uint
Run: runId? text
Nothing*:
Subscribed*: subscriptionId text, replayedEvents? uint
Reconnected*: restored bool, missedEvents? uint, currentNamespaces? [Standing]
Standing*: namespace [text], status Status
Tree: tree Node
Node: namespace [text], status Status, graphName text, children? [Node], metadata? object
State: values object, checkpoint? Reference
Reference: id text, ns? text
Checkpoints: checkpoints [Summary]
Summary: id text, timestamp text, step uint, nodeName? text, metadata? object
Forked: runId text, threadId text
RunStart: assistantId text, input any, config? object, metadata? object
Subscribe*: channels [text+], namespaces? [[text]], depth? uint
Unsubscribe*: subscriptionId text
Reconnect*: runId text, lastEventId? text, subscriptions? [text]
GetTree: runId? text
RespondOne: namespace [text], interruptId text, response any, update? object, goto? Goto, config? object, metadata? object
RespondMany: responses [Response+], update? object, goto? Goto, config? object, metadata? object
Response: namespace [text], interruptId text, response any
Goto = text | Sent | [text | Sent]
Sent: node text, input? any
Inject: namespace [text], message Injected
Injected*: role "user" | "system", content text, name? text
StateGet: namespace [text], keys? [text]
ListCheckpoints: namespace? [text], limit? uint, before? text
Fork: checkpointId text, input? any, config? object
"""  # noqa: E501

BLOCKS = {
    "text": "Text", "reasoning": "Reasoning", "tool_call": "ToolCall", "tool_call_chunk": "ToolCallChunk",
    "invalid_tool_call": "InvalidToolCall", "server_tool_call": "ServerToolCall",
    "server_tool_call_chunk": "ServerToolCallChunk", "server_tool_result": "ServerToolResult",
    "image": "Data", "audio": "Data", "video": "Data", "file": "Data", "non_standard": "NonStandard",
}  # fmt: skip
UNFINISHED = {"tool_call_chunk", "server_tool_call_chunk"}
"""Blocks that no message ends with."""
DELTAS = {
    "text-delta": "TextDelta", "reasoning-delta": "ReasoningDelta", "data-delta": "DataDelta",
    "block-delta": "BlockDelta", "tool-call-delta": "ToolCallDelta",
}  # fmt: skip
DATA: dict[str, str | dict[str, str]] = {
    "values": "any", "updates": "Updates", "lifecycle": "Lifecycle", "input.requested": "Requested",
    "input.answered": "Answered", "checkpoints": "Checkpoint", "tasks": "any", "custom": "Custom",
    "messages": {
        "message-start": "MessageStart", "content-block-start": "BlockStart",
        "content-block-delta": "BlockDeltaEvent", "content-block-finish": "BlockFinish",
        "message-finish": "MessageFinish", "error": "MessageError",
    },
    "tools": {
        "tool-started": "ToolStarted", "tool-output-delta": "ToolDelta", "tool-finished": "ToolFinished",
        "tool-error": "ToolError",
    },
}  # fmt: skip
"""The record of an event's data: by its method, and where there are several by its `event`."""
RESULT = {
    "run.start": "Run", "subscription.subscribe": "Subscribed", "subscription.unsubscribe": "Nothing",
    "subscription.reconnect": "Reconnected", "agent.getTree": "Tree", "input.respond": "Nothing",
    "input.inject": "Nothing", "state.get": "State", "state.listCheckpoints": "Checkpoints", "state.fork": "Forked",
}  # fmt: skip
PARAMETERS = {
    "run.start": "RunStart", "subscription.subscribe": "Subscribe", "subscription.unsubscribe": "Unsubscribe",
    "subscription.reconnect": "Reconnect", "agent.getTree": "GetTree", "input.respond": "RespondOne",
    "input.inject": "Inject", "state.get": "StateGet", "state.listCheckpoints": "ListCheckpoints",
    "state.fork": "Fork",
}  # fmt: skip
CHANNELS = {"values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"}
ENDS = {"completed", "failed", "interrupted"}

_TYPED: Mapping[str, Any] = {
    "Text": bindings.TextContentBlock, "Reasoning": bindings.ReasoningContentBlock, "ToolCall": bindings.ToolCall,
    "ToolCallChunk": bindings.ToolCallChunk, "InvalidToolCall": bindings.InvalidToolCall,
    "ServerToolCall": bindings.ServerToolCall, "ServerToolCallChunk": bindings.ServerToolCallChunk,
    "ServerToolResult": bindings.ServerToolResult, "Data": bindings.DataContentBlock,
    "NonStandard": bindings.NonStandardContentBlock, "TextDelta": bindings.TextDelta,
    "ReasoningDelta": bindings.ReasoningDelta, "DataDelta": bindings.DataDelta, "BlockDelta": bindings.BlockDelta,
    "ToolCallDelta": bindings.ToolCallDelta, "MessageStart": bindings.MessageStartData,
    "BlockStart": bindings.ContentBlockStartData, "BlockDeltaEvent": bindings.ContentBlockDeltaData,
    "BlockFinish": bindings.ContentBlockFinishData, "MessageFinish": bindings.MessageFinishData,
    "MessageError": bindings.MessageErrorData, "ToolStarted": bindings.ToolStartedData,
    "ToolDelta": bindings.ToolOutputDeltaData, "ToolFinished": bindings.ToolFinishedData,
    "ToolError": bindings.ToolErrorData, "Lifecycle": bindings.LifecycleData,
    "Requested": bindings.InputRequestedData, "Checkpoint": bindings.Checkpoint, "Updates": bindings.UpdatesData,
    "Custom": bindings.CustomData, "Run": bindings.RunResult, "Subscribed": bindings.SubscribeResult,
    "Reconnected": bindings.ReconnectResult, "Tree": bindings.AgentResult, "State": bindings.StateGetResult,
    "Checkpoints": bindings.ListCheckpointsResult, "Forked": bindings.StateForkResult,
    "Success": bindings.CommandResponse, "Failure": bindings.ErrorResponse,
    "RunStart": bindings.RunStartParams, "Subscribe": bindings.SubscribeParams,
    "Unsubscribe": bindings.UnsubscribeParams, "Reconnect": bindings.ReconnectParams,
    "GetTree": bindings.AgentGetTreeParams, "RespondOne": bindings.InputRespondOne,
    "RespondMany": bindings.InputRespondMany, "Inject": bindings.InputInjectParams,
    "StateGet": bindings.StateGetParams, "ListCheckpoints": bindings.ListCheckpointsParams,
    "Fork": bindings.StateForkParams,
}  # fmt: skip
"""The published type of a record. `input.answered` has none yet, and what may be anything needs none."""
_ADDED = {"id"}
"""What we put beside the fields of a message's event: which message it is of."""


class WrongFrame(AssertionError):
    """Something on the wire is not what the protocol has."""


# the rules as CDDL


def _cddl() -> str:
    lines: list[str] = []
    for line in RECORDS.strip().splitlines():
        if " = " in line:
            name, _, kind = line.partition(" = ")
            lines.append(f"{name} = {_kind(kind)}")
            continue
        name, _, fields = line.partition(":")
        members = [_member(field.strip()) for field in fields.split(", ") if field.strip()]
        if name.endswith("*"):
            members.append("* text => any")
        lines.append(f"{name.rstrip('*')} = {{ {', '.join(members)} }}")
    return "\n".join(lines)


def _member(field: str) -> str:
    if field.startswith("* "):
        return f"* text => {_kind(field[2:])}"
    name, _, kind = field.partition(" ")
    optional = "? " if name.endswith("?") else ""
    return f'{optional}"{name.rstrip("?")}": {_kind(kind)}'


def _kind(text: str) -> str:
    text = text.replace("|", "/")
    text = re.sub(r"\[([^\[\]]*?)(\+?)\]", lambda m: f"[{m[2] or '*'} ({m[1]})]", text)
    if text.startswith("[["):
        text = f"[* {text[1:-1]}]"
    text = text.replace("scalar", "null / bool / int / float / text")
    return re.sub(r"\bobject\b", "{* text => any}", text)


_RULES = _cddl()


@functools.cache
def _schema(rule: str) -> pycddl.Schema:
    return pycddl.Schema(f"start = {rule}\n{_RULES}")


@functools.cache
def _event_schema(method: str, record: str) -> pycddl.Schema:
    node = '? "node": text, ' if method in ("messages", "tools") else ""
    params = f'{{ "namespace": [* text], "timestamp": uint, {node}"data": {record} }}'
    return pycddl.Schema(
        f'start = {{ "type": "event", "eventId": text, ? "seq": uint, ? "runId": text, "method": "{method}", '
        f'"params": {params}, * text => any }}\n{_RULES}'
    )


@functools.cache
def _adapter(record: str) -> TypeAdapter[Any]:
    kind = _TYPED[record]
    # What a type does not name is kept where it is open, so that a key in the wrong spelling is seen afterwards.
    return TypeAdapter(with_config(ConfigDict(extra="ignore"))(kind) if isinstance(kind, type) else kind)


def _validate(schema: pycddl.Schema, value: Any, what: str) -> None:
    try:
        schema.validate_cbor(cbor2.dumps(value))
    except pycddl.ValidationError as error:
        raise WrongFrame(f"{what}: {error}\n{json.dumps(value)[:2000]}") from None


@functools.cache
def _closed() -> dict[str, set[str]]:
    """The keys of the records that take no others: the validator takes any beside keys that may all be absent."""
    lines = [line.partition(":") for line in RECORDS.strip().splitlines() if " = " not in line]
    return {
        name: {field.strip().partition(" ")[0].rstrip("?") for field in fields.split(", ")}
        for name, _, fields in lines
        if not name.endswith("*") and ", *" not in fields
    }


def check(record: str, value: Any) -> None:
    """Raises `WrongFrame` unless a value in camelCase is such a record."""
    _validate(_schema(record), value, record)
    _check_keys(record, value)


def _check_keys(record: str, value: Any) -> None:
    keys = _closed().get(record)
    if keys is not None and not set(value) <= keys:
        raise WrongFrame(f"{record} has {sorted(set(value) - keys)} beside what it may have: {value}")


def check_typed(record: str, value: Any) -> None:
    """Raises `WrongFrame` unless a value in snake_case is what the published types say, and has no other keys than
    those at its own level."""
    try:
        kept = _adapter(record).validate_python(value, strict=True)
    except ValueError as error:
        raise WrongFrame(f"{record}: {error}\n{json.dumps(value)[:2000]}") from None
    strange = set(value) - set(kept) - _ADDED
    if record not in _OPEN and strange:
        raise WrongFrame(f"{record} has {sorted(strange)}, which the published type has not: {value}")


_OPEN = {*BLOCKS.values(), "BlockDelta", "Success", "Failure", "Subscribe"}


# frames


def record_of(frame: Frame) -> str:
    """The record of an event's data."""
    kinds = DATA.get(frame.get("method", ""))
    if kinds is None:
        raise WrongFrame(f"there is no such event: {frame}")
    if isinstance(kinds, str):
        return kinds
    event = frame["params"]["data"].get("event")
    if event not in kinds:
        raise WrongFrame(f"there is no {frame['method']} event {event!r}: {frame}")
    return kinds[event]


def check_event(frame: Frame) -> Frame:
    """Raises `WrongFrame` unless a frame in camelCase is an event of the protocol; gives it back."""
    record = record_of(frame)
    _validate(_event_schema(frame["method"], record), frame, record)
    data = frame["params"]["data"]
    _check_keys(record, data)
    _check_parts(data, check)
    _check_id(frame)
    respelled = spell_event(frame, "snake")
    if record in _TYPED:
        check_typed(record, respelled["params"]["data"])
        _check_parts(respelled["params"]["data"], check_typed)
    if spell_event(respelled, "camel") != frame:
        raise WrongFrame(f"respelled twice it is another one: {frame}")
    return frame


def _check_parts(data: Any, check_one: Any) -> None:
    """The block or the delta in a message's event."""
    event = data.get("event") if isinstance(data, dict) else None
    if event in ("content-block-start", "content-block-finish"):
        kind = data["content"].get("type")
        if kind not in BLOCKS or (event.endswith("finish") and kind in UNFINISHED):
            raise WrongFrame(f"no block of {event} is {kind!r}")
        check_one(BLOCKS[kind], data["content"])
    elif event == "content-block-delta":
        kind = data["delta"].get("type")
        if kind not in DELTAS:
            raise WrongFrame(f"there is no delta {kind!r}")
        check_one(DELTAS[kind], data["delta"])


_IDS = re.compile(r"(?P<seq>[1-9]\d*)(?P<part>-\d+)?|snap:[0-9a-f-]{36}|missed:\d+-\d+")


def _check_id(frame: Frame) -> None:
    found = _IDS.fullmatch(frame["eventId"])
    if found is None:
        raise WrongFrame(f"the id is none of ours: {frame}")
    whole = found["seq"] is not None and found["part"] is None
    if frame.get("seq") != (int(found["seq"]) if whole else None):
        raise WrongFrame(f"seq and eventId do not go together: {frame}")
    if frame["eventId"].startswith("snap:") and frame["method"] != "values":
        raise WrongFrame(f"a baseline is a state: {frame}")


def place(event_id: str) -> tuple[int, int] | None:
    """Where an event stands in the log; None for a baseline and for what tells of missed events."""
    if ":" in event_id:
        return None
    seq, _, part = event_id.partition("-")
    return int(seq), int(part) if part else 10**9


def check_order(frames: Iterable[Frame]) -> None:
    """Raises `WrongFrame` unless the frames of one subscription come in the order of the log, each once, behind a
    baseline if there is one; what tells of missed events stands in their place."""
    last = (0, 0)
    for index, frame in enumerate(frames):
        at = place(frame["eventId"])
        if frame["eventId"].startswith("missed:"):
            first, _, to = frame["eventId"].removeprefix("missed:").partition("-")
            if int(first) <= last[0]:
                raise WrongFrame(f"{frame['eventId']} tells of what has been told")
            last = (int(to), 10**9)
        elif at is None:
            if index:
                raise WrongFrame(f"{frame['eventId']} does not come first")
        elif at <= last:
            raise WrongFrame(f"{frame['eventId']} comes behind {last}")
        else:
            last = at


def check_whole(frames: Sequence[Frame]) -> None:
    """Raises `WrongFrame` unless what a thread told from its beginning, on all channels, hangs together: every message
    is begun and its blocks do not interleave, a run ends once and what is below it before, a state comes right behind
    its checkpoint, a call that ends was begun."""
    check_order(frames)
    messages: dict[tuple[Any, str], list[int]] = {}
    open_children: dict[str, set[tuple[str, ...]]] = {}
    ended: set[str] = set()
    calls: set[str] = set()
    for before, frame in zip([None, *frames], frames, strict=False):
        data, run = frame["params"]["data"], frame.get("runId", "")
        namespace = tuple(frame["params"]["namespace"])
        if run in ended:
            raise WrongFrame(f"its run has ended before: {frame}")
        match frame["method"]:
            case "messages":
                _check_message(messages, (run, data["id"]), data)
            case "lifecycle" if namespace:
                children = open_children.setdefault(run, set())
                (children.discard if data["event"] in ENDS else children.add)(namespace)
            case "lifecycle":
                if data["event"] in ENDS:
                    ended.add(run)
                    if open_children.get(run):
                        raise WrongFrame(f"{open_children[run]} is open when its run ends")
                else:
                    messages = {key: value for key, value in messages.items() if key[0] != run}
            case "values" if not frame["eventId"].startswith("snap:"):
                if before is None or before["method"] != "checkpoints":
                    raise WrongFrame(f"a state without its checkpoint before it: {frame}")
            case "tools":
                if data["event"] == "tool-started":
                    calls.add(data["toolCallId"])
                elif data["toolCallId"] not in calls:
                    raise WrongFrame(f"the call was not begun: {frame}")
            case _:
                pass


def _check_message(messages: dict[tuple[Any, str], list[int]], key: tuple[Any, str], data: dict[str, Any]) -> None:
    """`messages`: of each that is written, the number of its newest block, and 1 while that is open."""
    event = data["event"]
    if event == "message-start":
        messages[key] = [-1, 0]
        return
    if key not in messages:
        raise WrongFrame(f"the message was not begun: {data}")
    newest, is_open = messages[key]
    fine = {
        "content-block-start": not is_open and data.get("index") == newest + 1,
        "content-block-delta": is_open and data.get("index") == newest,
        "content-block-finish": is_open and data.get("index") == newest,
        "message-finish": not is_open,
        "error": True,
    }[event]
    if not fine:
        raise WrongFrame(f"block {newest} of the message is {'open' if is_open else 'closed'}: {data}")
    if event in ("message-finish", "error"):
        del messages[key]
    elif event != "content-block-delta":
        messages[key] = [data["index"], int(event == "content-block-start")]


# commands and responses


def check_command(command: Frame) -> None:
    """Raises `WrongFrame` unless a command in camelCase is one of the protocol."""
    record = PARAMETERS[command["method"]]
    params = command.get("params", {})
    if record == "RespondOne" and "responses" in params:
        record = "RespondMany"
    check(record, params)
    if record == "Subscribe" and not all(c in CHANNELS or re.fullmatch("custom:.+", c) for c in params["channels"]):
        raise WrongFrame(f"unknown channels: {params}")
    if command["method"] in PARAMS:
        params = PARAMS[command["method"]].spell(params, "snake")
    check_typed(record, params)


def check_response(response: Frame, method: str | None = None) -> Frame:
    """Raises `WrongFrame` unless a response in camelCase is what the protocol says (for a command); gives it back."""
    failed = response.get("type") == "error"
    check("Failure" if failed else "Success", response)
    if failed:
        check_typed("Failure", response)
    elif method is not None:
        record = RESULT[method]
        check(record, response["result"])
        if record in _TYPED:
            check_typed(record, RESULTS[method].spell(response["result"], "snake") if method in RESULTS else
                        response["result"])  # fmt: skip
        if type(response["meta"]["appliedThroughSeq"]) is not int:
            raise WrongFrame(f"the number of the last event is missing: {response}")
    return response


_ENVELOPE = {"eventId": "event_id", "runId": "run_id"}


def spell_event(frame: Frame, case: Case) -> Frame:
    """An event in one of the spellings, whichever it is in."""
    names = _ENVELOPE if case == "snake" else {snake: camel for camel, snake in _ENVELOPE.items()}
    spelled = {names.get(key, key): value for key, value in frame.items()}
    if frame["method"] in EVENT_DATA:
        params = cast("dict[str, Any]", frame["params"])
        data = EVENT_DATA[frame["method"]].spell(params["data"], case)
        spelled["params"] = {**params, "data": data}
    return spelled
