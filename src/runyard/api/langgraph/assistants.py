"""Assistants in the dialect: create, look at, list, change in versions, delete; and what their agents look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from runyard import assistants
from runyard.api.answers import Time
from runyard.api.call import Call
from runyard.api.context import ApiContext
from runyard.api.langgraph.pages import check_select, select, tell_pages
from runyard.api.langgraph.wire import Config, Limit, Offset, SortOrder
from runyard.api.operation import operation
from runyard.api.validation import Shape, canonical_uuid
from runyard.api.wire import JsonObject, Uuid, Wire
from runyard.assistants import AssistantFilter, AssistantPatch, VersionFilter, default_id
from runyard.catalog import CreateAssistant
from runyard.clock import rfc3339
from runyard.errors import InvalidInput
from runyard.runtime.chores import SubgraphView

__all__ = ["Assistant", "default_id", "find"]

Text = Annotated[str, Meta(max_length=65536)]
Version = Annotated[int, Meta(ge=1, le=2**53 - 1)]
SortBy = Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"]
_COLUMNS: dict[SortBy, assistants.SortBy] = {
    "assistant_id": "assistant_id", "graph_id": "agent_id", "name": "name", "created_at": "created_at",
    "updated_at": "updated_at",
}  # fmt: skip

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Assistant(msgspec.Struct, frozen=True):
    """What a run takes of its assistant: what it says itself comes on top."""

    assistant_id: str
    agent_id: str
    config: dict[str, Any] = {}
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}


async def find(api: ApiContext, owner: str, assistant_id: str) -> Assistant:
    """The assistant of an id, or the default one of the agent of that id.

    Raises:
        NotFound: assistant_not_found.
    """
    found = await api.catalog.of_run(owner, assistant_id_of(api, assistant_id))
    return Assistant(
        found.assistant_id, found.agent_id, _decode(found.config), _decode(found.context) or None,
        _decode(found.metadata),
    )  # fmt: skip


def assistant_id_of(api: ApiContext, named: str) -> str:
    """An assistant's id in its one form; an agent's id stands for its default assistant."""
    if named in api.verbs.published:
        return default_id(named)
    try:
        return canonical_uuid("assistant_id", named)
    except InvalidInput:
        return named  # there is none, as its finder says best


# what is asked


class AssistantCreate(Wire, kw_only=True):
    """An assistant to create."""

    graph_id: str
    assistant_id: Uuid | None = None
    config: Config | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    name: Text | None = None
    description: Text | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class AssistantUpdate(Wire, kw_only=True):
    """What a new version of an assistant has of its own. Metadata are merged into what there is."""

    graph_id: str | None = None
    config: Config | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    name: Text | None = None
    description: Text | None = None


class AssistantCount(Wire, kw_only=True):
    """Which assistants to count."""

    metadata: JsonObject | None = None
    graph_id: str | None = None
    name: Annotated[Text | None, Meta(description="A part of the name, in any case.")] = None


class AssistantSearch(AssistantCount, kw_only=True):
    """Which assistants to list."""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: SortBy | None = None
    sort_order: SortOrder | None = None
    select: list[str] | None = None


class VersionsRequest(Wire, kw_only=True):
    """Which versions to list, newest first."""

    metadata: JsonObject | None = None
    limit: Limit = 10
    offset: Offset = 0


class LatestRequest(Wire, kw_only=True):
    """The version that is to count."""

    version: Version


class DeleteQuery(Wire, kw_only=True):
    """What to delete with it."""

    delete_threads: Annotated[bool, Meta(description="The threads whose metadata name it.")] = False


class GraphQuery(Wire, kw_only=True):
    """How deep to look."""

    xray: Annotated[str | UnsetType, Meta(description="Open subgraphs: true for all, or so many levels.")] = UNSET


class SubgraphsQuery(Wire, kw_only=True):
    """How deep to look."""

    recurse: bool = False


CREATE, UPDATE, COUNT, SEARCH = (
    Shape(AssistantCreate), Shape(AssistantUpdate), Shape(AssistantCount), Shape(AssistantSearch),
)  # fmt: skip
VERSIONS, LATEST = Shape(VersionsRequest), Shape(LatestRequest)
DELETE_QUERY, GRAPH_QUERY, SUBGRAPHS_QUERY = Shape(DeleteQuery), Shape(GraphQuery), Shape(SubgraphsQuery)


# what is answered


class AssistantAnswer(msgspec.Struct, kw_only=True):
    """An agent with a configuration."""

    assistant_id: Uuid
    graph_id: str
    version: int
    created_at: Time
    updated_at: Time
    name: str
    description: str | None
    metadata: JsonObject
    config: JsonObject
    context: JsonObject


class GraphSchema(msgspec.Struct, kw_only=True):
    """JSON Schemas of an agent, or of a part of it; null where there is none."""

    graph_id: str
    input_schema: JsonObject | None
    output_schema: JsonObject | None
    state_schema: JsonObject | None
    config_schema: JsonObject | None
    context_schema: JsonObject | None


class Graph(msgspec.Struct, kw_only=True):
    """Nodes and edges."""

    nodes: list[JsonObject]
    edges: list[JsonObject]


def _answer(assistant: assistants.Assistant) -> dict[str, Any]:
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.agent_id,
        "version": assistant.version,
        "created_at": rfc3339(assistant.created_at),
        "updated_at": rfc3339(assistant.updated_at),
        "name": assistant.name,
        "description": assistant.description,
        "metadata": Raw(assistant.metadata),
        "config": Raw(assistant.config),
        "context": Raw(assistant.context),
    }


# operations


@operation("Assistants", needs="write", body=CREATE, answer=AssistantAnswer, errors=(409,))
async def create_assistant(call: Call) -> None:
    """Create Assistant

    Its first version.
    """
    document = await call.document()
    body = CREATE.parse(document)
    call.pass_over(CREATE.unknown(document))
    wish = CreateAssistant(
        agent_id=body.graph_id,
        assistant_id=None if body.assistant_id is None else canonical_uuid("assistant_id", body.assistant_id),
        name=body.name,
        description=body.description,
        metadata=body.metadata or {},
        config=document.get("config") or {},
        context=body.context or {},
    )
    await call.answer(_encode(_answer(await call.api.catalog.create(call.owner, wish, body.if_exists or "raise"))))


@operation("Assistants", needs="read", body=SEARCH, answer=list[AssistantAnswer])
async def search_assistants(call: Call) -> None:
    """Search Assistants

    Newest first, unless `sort_by` says otherwise.
    """
    body = await call.body(SEARCH)
    chosen = None if body.select is None else check_select(body.select, AssistantAnswer)
    query = AssistantFilter(
        agent_id=body.graph_id,
        name=body.name,
        metadata=body.metadata,
        sort_by=_COLUMNS[body.sort_by or "created_at"],
        descending=body.sort_order != "asc",
        limit=body.limit + 1,
        offset=body.offset,
    )
    found = await call.api.catalog.search(call.owner, query)
    total = await call.api.catalog.count(call.owner, query) if len(found) > body.limit else None
    tell_pages(call, body.offset, body.limit, len(found), total)
    await call.answer(_encode([select(_answer(assistant), chosen) for assistant in found[: body.limit]]))


@operation("Assistants", needs="read", body=COUNT, answer=int)
async def count_assistants(call: Call) -> None:
    """Count Assistants"""
    body = await call.body(COUNT)
    query = AssistantFilter(body.graph_id, body.name, body.metadata)
    await call.answer(_encode(await call.api.catalog.count(call.owner, query)))


@operation("Assistants", needs="read", answer=AssistantAnswer, errors=(404,))
async def get_assistant(call: Call) -> None:
    """Get Assistant"""
    await call.answer(_encode(_answer(await _found(call))))


@operation("Assistants", needs="write", body=UPDATE, answer=AssistantAnswer, errors=(404,))
async def patch_assistant(call: Call) -> None:
    """Patch Assistant

    Makes a new version, which counts from now on: what the body leaves out stays as it is.
    """
    document = await call.document()
    body = UPDATE.parse(document)
    call.pass_over(UPDATE.unknown(document))
    patch = AssistantPatch(
        body.graph_id, body.name, body.description, body.metadata, document.get("config"), body.context
    )
    await call.answer(_encode(_answer(await call.api.catalog.patch(call.owner, _id(call), patch))))


@operation("Assistants", needs="write", query=DELETE_QUERY, errors=(404, 409))
async def delete_assistant(call: Call) -> None:
    """Delete Assistant

    With its versions and its crons. The default assistant of an agent stays.
    """
    query = call.query(DELETE_QUERY)
    await call.api.catalog.delete(call.owner, _id(call), threads=query.delete_threads)
    await call.no_content()


@operation("Assistants", needs="read", body=VERSIONS, answer=list[AssistantAnswer], errors=(404,))
async def list_assistant_versions(call: Call) -> None:
    """Get Assistant Versions

    Newest first.
    """
    body = await call.body(VERSIONS)
    query = VersionFilter(body.metadata, body.limit + 1, body.offset)
    found = await call.api.catalog.versions(call.owner, _id(call), query)
    tell_pages(call, body.offset, body.limit, len(found))
    await call.answer(_encode([_answer(version) for version in found[: body.limit]]))


@operation("Assistants", needs="write", body=LATEST, answer=AssistantAnswer, errors=(404,))
async def set_latest_assistant_version(call: Call) -> None:
    """Set Latest Assistant Version

    Lets a version count, with all that it had.
    """
    body = await call.body(LATEST)
    await call.answer(_encode(_answer(await call.api.catalog.choose_version(call.owner, _id(call), body.version))))


@operation("Assistants", needs="read", query=GRAPH_QUERY, answer=Graph, errors=(404, 504))
async def get_assistant_graph(call: Call) -> None:
    """Get Assistant Graph

    The nodes and edges of its agent. A function agent is one node.
    """
    xray = _xray(call.query(GRAPH_QUERY).xray)
    assistant = await _found(call)
    drawn = await call.api.inspection.drawing(
        call.owner, assistant.agent_id, xray=xray, configurable=_configurable(assistant)
    )
    await call.answer(_encode(drawn))


@operation("Assistants", needs="read", query=SUBGRAPHS_QUERY, answer=dict[str, GraphSchema], errors=(404, 504))
async def get_assistant_subgraphs(call: Call) -> None:
    """Get Assistant Subgraphs

    The schemas of its agent's subgraphs, by namespace.
    """
    await _answer_subgraphs(call, None)


@operation("Assistants", needs="read", query=SUBGRAPHS_QUERY, answer=dict[str, GraphSchema], errors=(404, 504))
async def get_assistant_subgraph(call: Call) -> None:
    """Get Assistant Subgraphs by Namespace

    The same of one of them, and with `recurse` of those in it.
    """
    await _answer_subgraphs(call, call.params["namespace"])


class _Configured(msgspec.Struct):
    configurable: dict[str, Any] | None = None


_CONFIGURED = msgspec.json.Decoder(_Configured).decode


async def _answer_subgraphs(call: Call, namespace: str | None) -> None:
    query = call.query(SUBGRAPHS_QUERY)
    assistant = await _found(call)
    found = await call.api.inspection.subgraphs(
        call.owner,
        assistant.agent_id,
        namespace=namespace,
        recurse=query.recurse,
        configurable=_configurable(assistant),
    )
    await call.answer(_encode({name: _schemas(assistant.agent_id, view) for name, view in found.items()}))


def _configurable(assistant: assistants.Assistant) -> dict[str, Any]:
    """What its configuration says to a factory of graphs."""
    return _CONFIGURED(assistant.config).configurable or {}


@operation("Assistants", needs="read", answer=GraphSchema, errors=(404,))
async def get_assistant_schemas(call: Call) -> None:
    """Get Assistant Schemas

    As its agent is published: no code is asked.
    """
    assistant = await _found(call)
    schemas = call.api.verbs.agent(assistant.agent_id).schemas
    view = SubgraphView("", schemas.input, schemas.output, schemas.state, schemas.config, schemas.context)
    await call.answer(_encode(_schemas(assistant.agent_id, view)))


def _schemas(agent_id: str, view: SubgraphView) -> dict[str, Any]:
    return {
        "graph_id": agent_id,
        "input_schema": view.input,
        "output_schema": view.output,
        "state_schema": view.state,
        "config_schema": view.config,
        "context_schema": view.context,
    }


def _id(call: Call) -> str:
    return assistant_id_of(call.api, call.params["assistant_id"])


async def _found(call: Call) -> assistants.Assistant:
    return await call.api.catalog.find(call.owner, _id(call))


def _xray(text: str | UnsetType) -> bool | int:
    if text is UNSET or text.lower() in ("", "false"):
        return False
    if text.lower() == "true":
        return True
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise InvalidInput(f"xray is {text[:40]!r}; allowed: true, false, or a number of levels", field="xray")
    return int(text)
