"""What the protocol's two OpenAPI documents say, in a short form of our own: of April 2025 (`old`) and today's (`new`).

Types: str, int, float, bool, object, any, uuid, time, `"const"`, `{a b}` (one of these strings), `list[...]`,
`... | ...`, or the name of a model. `!` after a field's name: it is required. `~` before a line: only in the old
document; `+`: only in the new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

_MODELS = """
Agent: agent_id! str, name! str, description str, metadata object, capabilities! AgentCapabilities
AgentCapabilities*: ap.io.messages bool, ap.io.streaming bool
~AgentSchemas: agent_id! str, input_schema! object, output_schema! object, state_schema object, config_schema object
+AgentSchema: agent_id! str, input_schema! object, output_schema! object, state_schema object, config_schema object
SearchAgentsRequest: name str, metadata object, limit int 1..1000, offset int 0..
Config: tags list[str], recursion_limit int, configurable object
+ErrorResponse: code str, message str, metadata object
Item: namespace! list[str], key! str, value! object, created_at! time, updated_at! time
Message*: role! str, content! str | list[MessageTextBlock | MessageAnyBlock], id str, metadata object
MessageTextBlock: text! str, type! "text", metadata object
MessageAnyBlock*: type! str, metadata object
RunCreate: thread_id uuid, agent_id str, input any, messages list[Message], metadata object, config Config, webhook str, on_completion {delete keep}, on_disconnect {cancel continue}, if_not_exists {create reject}
~RunCreate: stream_mode {values messages updates custom} | list[{values messages updates custom}]
+RunStream: RunCreate, stream_mode {values messages updates custom} | list[{values messages updates custom}]
~Run: RunCreate, run_id! uuid, created_at! time, updated_at! time, status! any, metadata! object
+Run: RunStream, run_id! uuid, created_at! time, updated_at! time, status! RunStatus, metadata! object
+RunSearchRequest: metadata object, status RunStatus, thread_id uuid, agent_id str, limit int 1..1000, offset int 0..
RunWaitResponse: run Run, values object, messages list[Message]
SearchItemsResponse: items! list[Item]
StoreDeleteRequest: namespace list[str], key! str
StoreListNamespacesRequest: prefix list[str], suffix list[str], max_depth int, limit int, offset int
StorePutRequest: namespace! list[str], key! str, value! object
StoreSearchRequest: namespace_prefix list[str] | null, filter object | null, limit int, offset int
Thread: thread_id! uuid, created_at! time, updated_at! time, metadata! object, status! ThreadStatus, values object, messages list[Message]
ThreadCheckpoint*: checkpoint_id! uuid
ThreadCreate: thread_id uuid, metadata object, if_exists {raise do_nothing}
ThreadPatch: checkpoint ThreadCheckpoint, metadata object, values object, messages list[Message]
ThreadSearchRequest: metadata object, values object, status ThreadStatus, limit int 1..1000, offset int 0..
ThreadState: checkpoint! ThreadCheckpoint, values! object, messages list[Message], metadata object
+EventStreamRequest*: channels! list[str] 1.., namespaces list[list[str]], depth int 0.., since int 0..
+StreamingCommand*: id! int 0.., method! str, params object
+StreamingSuccessResponse*: type! "success", id! int 0.., result! object, meta StreamingSuccessResponseMeta
+StreamingSuccessResponseMeta*: appliedThroughSeq int 0..
+StreamingErrorResponse*: type! "error", id! int | null 0.., error! str, message! str, stacktrace str, meta object
+StreamingEvent*: type! "event", eventId str, seq int 0.., method! str, params! object
"""  # noqa: E501

ENUMS = {
    "RunStatus": ["pending", "error", "success", "timeout", "interrupted"],
    "ThreadStatus": ["idle", "busy", "interrupted", "error"],
}

# operation, class, method and path, query, body, the answer of status 200 (else the other success), errors
_OPERATIONS = """
search_agents            | AgentsApi         | POST /agents/search                | | SearchAgentsRequest | list[Agent] | 404 422
get_agent                | AgentsApi         | GET /agents/{agent_id}             | | | Agent | 404
~get_agent_schemas       | AgentsApi         | GET /agents/{agent_id}/schemas     | | | AgentSchemas | 404 422
+get_agent_schemas       | AgentsApi         | GET /agents/{agent_id}/schemas     | | | AgentSchema | 404 422
create_thread            | ThreadsApi        | POST /threads                      | | ThreadCreate | Thread | 409 422
search_threads           | ThreadsApi        | POST /threads/search               | | ThreadSearchRequest | list[Thread] | 422
get_thread_history       | ThreadsApi        | GET /threads/{thread_id}/history   | limit int, before str | | list[ThreadState] | 404 422
copy_thread              | ThreadsApi        | POST /threads/{thread_id}/copy     | | | Thread | 404 422
get_thread               | ThreadsApi        | GET /threads/{thread_id}           | | | Thread | 404 422
delete_thread            | ThreadsApi        | DELETE /threads/{thread_id}        | | | 204 | 404 422
patch_thread             | ThreadsApi        | PATCH /threads/{thread_id}         | | ThreadPatch | Thread | 404 422
~search_thread_runs      | BackgroundRunsApi | GET /threads/{thread_id}/runs      | limit int, offset int | | list[Run] | 404 422
+search_runs             | BackgroundRunsApi | POST /runs/search                  | | RunSearchRequest | list[Run] | 404 422
~create_run              | BackgroundRunsApi | POST /runs                         | | RunCreate | any | 404 409 422
+create_run              | BackgroundRunsApi | POST /runs                         | | RunStream | Run | 404 409 422
get_run                  | BackgroundRunsApi | GET /runs/{run_id}                 | | | Run | 404 422
delete_run               | BackgroundRunsApi | DELETE /runs/{run_id}              | | | 204 | 404 422
wait_run                 | BackgroundRunsApi | GET /runs/{run_id}/wait            | | | RunWaitResponse | 404 422
stream_run               | BackgroundRunsApi | GET /runs/{run_id}/stream          | | | any | 404 422
cancel_run               | BackgroundRunsApi | POST /runs/{run_id}/cancel         | wait bool, action {interrupt rollback} | | 204 | 404 422
~create_and_stream_run   | RunsApi           | POST /runs/stream                  | | RunCreate | text/event-stream | 404 409 422
+create_and_stream_run   | RunsApi           | POST /runs/stream                  | | RunStream | text/event-stream | 404 409 422
create_and_wait_run      | RunsApi           | POST /runs/wait                    | | RunCreate | RunWaitResponse | 404 409 422
put_item                 | StoreApi          | PUT /store/items                   | | StorePutRequest | 204 | 422
delete_item              | StoreApi          | DELETE /store/items                | | StoreDeleteRequest | 204 | 404 422
get_item                 | StoreApi          | GET /store/items                   | key! str, namespace list[str] | | Item | 400 404 422
search_items             | StoreApi          | POST /store/items/search           | | StoreSearchRequest | SearchItemsResponse | 422
list_namespaces          | StoreApi          | POST /store/namespaces             | | StoreListNamespacesRequest | list[list[str]] | 422
+open_thread_sse_stream  | StreamingApi      | POST /threads/{thread_id}/stream   | | EventStreamRequest | text/event-stream | 404 422
+open_thread_websocket_stream | StreamingApi | GET /threads/{thread_id}/stream    | | | 101 | 404 422
+send_thread_streaming_command | StreamingApi | POST /threads/{thread_id}/commands | | StreamingCommand | StreamingSuccessResponse | StreamingErrorResponse | 404 422
"""  # noqa: E501

VERSIONS = ("old", "new")


@dataclass(frozen=True)
class DocumentedField:
    """A field of a model, or a parameter of a query."""

    name: str
    kind: str
    required: bool
    at_least: int | None = None
    at_most: int | None = None


@dataclass(frozen=True)
class DocumentedModel:
    name: str
    fields: dict[str, DocumentedField]
    open: bool
    """Whether the document says that other fields are allowed."""


@dataclass(frozen=True)
class DocumentedOperation:
    name: str
    api: str
    method: str
    path: str
    query: list[DocumentedField]
    body: str
    answer: str
    """A type, a media type, or the status code of a success without a body."""
    errors: list[int]

    @property
    def ids(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)


def _lines(text: str, version: str) -> Iterator[str]:
    other = "+" if version == "old" else "~"
    return (line.lstrip("~+") for line in text.strip().splitlines() if not line.startswith(other))


def _field(text: str) -> DocumentedField:
    name, _, kind = text.strip().partition(" ")
    bounds = re.search(r" ?(\d+)\.\.(\d*)$", kind)
    low, high = (None, None) if bounds is None else bounds.groups()
    kind = kind if bounds is None else kind[: bounds.start()]
    least, most = (int(each) if each else None for each in (low, high))
    return DocumentedField(name.rstrip("!"), kind, name.endswith("!"), least, most)


def models(version: str) -> dict[str, DocumentedModel]:
    """The models of a version of the protocol, by their names."""
    found: dict[str, DocumentedModel] = {}
    for line in _lines(_MODELS, version):
        head, _, rest = line.partition(": ")
        name = head.rstrip("*")
        fields = dict(found[name].fields) if name in found else {}
        for part in rest.split(", "):
            if part in found:
                fields |= found[part].fields
            else:
                field = _field(part)
                fields[field.name] = field
        found[name] = DocumentedModel(name, fields, head.endswith("*"))
    return found


def operations(version: str) -> dict[str, DocumentedOperation]:
    """The operations of a version of the protocol, by their ids."""
    found: dict[str, DocumentedOperation] = {}
    for line in _lines(_OPERATIONS, version):
        name, api, route, query, body, *answer, errors = [part.strip() for part in line.split("|")]
        method, _, path = route.partition(" ")
        fields = [_field(part) for part in query.split(", ")] if query else []
        codes = [int(code) for code in errors.split()]
        found[name] = DocumentedOperation(name, api, method, path, fields, body, " | ".join(answer), codes)
    return found


def problems(kind: str, value: Any, version: str, path: str = "$") -> Iterator[str]:
    """What of a JSON value a type does not allow. Fields that a document does not know are allowed, as it says."""
    if kind == "any":
        return
    if kind.startswith("list[") and _closes_at_its_end(kind):
        if not isinstance(value, list):
            yield f"{path} is no list: {value!r}"
            return
        for index, each in enumerate(value):
            yield from problems(kind[5:-1], each, version, f"{path}[{index}]")
    elif members := _members(kind):
        if all(list(problems(member, value, version)) for member in members):
            yield f"{path} is not {kind}: {value!r}"
    elif kind in models(version):
        yield from _object_problems(models(version)[kind], value, version, path)
    elif not _is_a(kind, value):
        yield f"{path} is not {kind}: {value!r}"


def _object_problems(model: DocumentedModel, value: Any, version: str, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no {model.name}: {value!r}"
        return
    for field in model.fields.values():
        if field.name in value:
            yield from problems(field.kind, value[field.name], version, f"{path}.{field.name}")
        elif field.required:
            yield f"{path}.{field.name} is missing"


def _closes_at_its_end(kind: str) -> bool:
    depth = 0
    for place, sign in enumerate(kind):
        depth += (sign == "[") - (sign == "]")
        if sign == "]" and depth == 0:
            return place == len(kind) - 1
    return False


def _members(kind: str) -> list[str]:
    parts, depth = [""], 0
    for sign in kind:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts] if len(parts) > 1 else []


def _is_a(kind: str, value: Any) -> bool:
    if kind in ENUMS:
        return value in ENUMS[kind]
    if kind.startswith("{"):
        return value in kind[1:-1].split()
    if kind.startswith('"'):
        return value == kind[1:-1]
    if kind in ("uuid", "time"):
        try:
            return isinstance(value, str) and bool((UUID if kind == "uuid" else datetime.fromisoformat)(value))
        except ValueError:
            return False
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    return isinstance(value, {"str": str, "bool": bool, "object": dict, "null": type(None)}[kind])
