"""What a graph says of itself: its schemas, its nodes, whether it speaks in messages."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any, cast

from pydantic import PydanticUserError, create_model

from runyard.agents import Schemas
from runyard.runtime.state import MESSAGES

Graph = Any
"""A compiled graph (`langgraph.pregel.Pregel`), of whose types LangGraph's own are only partly known."""

_OWN = ("__start__", "__end__")
_MESSAGE_CLASSES = {
    f"{kind}Message{part}"
    for kind in ("AI", "Chat", "Function", "Human", "Remove", "System", "Tool")
    for part in ("", "Chunk")
}
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "title": "Message",
    "required": ["role", "content"],
    "properties": {
        "role": {"type": "string"},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        "id": {"type": "string"},
        "metadata": {"type": "object"},
    },
}


def schemas_of(graph: Graph) -> tuple[Schemas, list[str]]:
    """The JSON Schemas of a graph, and in words which of them cannot be had (they then accept anything)."""
    problems: list[str] = []

    def derive(what: str, how: Callable[[], Any], empty: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return how() or empty
        except Exception as error:  # whatever pydantic makes of users' types
            problems.append(f"{what}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            return empty

    anything: dict[str, Any] = {}
    context = derive("context", graph.get_context_jsonschema, None)
    config = derive("config", lambda: _configurable(graph), None)
    schemas = Schemas(
        input=derive("input", lambda: _in_our_messages(_schema(graph, "input")), anything),
        output=derive("output", lambda: _in_our_messages(_schema(graph, "output")), anything),
        state=derive("state", lambda: _in_our_messages(_state_schema(graph) or {}), None),
        config=None if config == context else config,  # LangGraph gives the context's as that of the configuration too
        context=context,
    )
    return schemas, problems


def _schema(graph: Graph, which: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", getattr(graph, f"get_{which}_jsonschema")())
    except PydanticUserError:
        # Before Python 3.12 pydantic takes no TypedDict of `typing`; the types of its channels it does.
        names = graph.builder.schemas[getattr(graph.builder, f"{which}_schema")]
        fields: dict[str, Any] = {name: (graph.channels[name].UpdateType, None) for name in names}
        return create_model(which.capitalize(), **fields).model_json_schema()


def _state_schema(graph: Graph) -> dict[str, Any] | None:
    names = [name for name in graph.stream_channels_list if not name.startswith("_")]
    fields: dict[str, Any] = {name: (graph.channels[name].UpdateType, None) for name in names}
    return create_model("State", **fields).model_json_schema() if fields else None


def _configurable(graph: Graph) -> dict[str, Any] | None:
    """What `config.configurable` may hold: the fields that runnables in the graph declare."""
    schema = cast("dict[str, Any]", graph.config_schema().model_json_schema())
    found = schema.get("properties", {}).get("configurable")
    if found is None:
        return None
    definitions = cast("dict[str, Any]", schema.get("$defs", {}))
    reference = cast("dict[str, Any]", found).get("$ref", "").removeprefix("#/$defs/")
    if reference:
        found = definitions.pop(reference)
    return {**cast("dict[str, Any]", found), **({"$defs": definitions} if definitions else {})}


def _in_our_messages(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, with the Agent Protocol's message in the place of LangChain's dozen classes."""
    definitions = cast("dict[str, Any]", schema.get("$defs", {}))

    def walk(part: Any) -> Any:
        if isinstance(part, list):
            return [walk(item) for item in cast("list[Any]", part)]
        if not isinstance(part, dict):
            return part
        found = cast("dict[str, Any]", part)
        references = [_reference(option) for option in cast("list[Any]", found.get("oneOf", []))]
        if len(references) > 1 and set(references) <= _MESSAGE_CLASSES:
            return {"$ref": "#/$defs/Message"}
        return {key: walk(value) for key, value in found.items() if key != "$defs"}

    result = cast("dict[str, Any]", walk(schema))
    walked: dict[str, Any] = {name: walk(definition) for name, definition in definitions.items()}
    walked["Message"] = _MESSAGE
    used: dict[str, Any] = {}
    waiting = [result]
    while waiting:
        for name in _named_in(waiting.pop()) - used.keys():
            if name in walked:
                used[name] = walked[name]
                waiting.append(walked[name])
    return {**result, **({"$defs": used} if used else {})}


def _reference(part: Any) -> str:
    return str(cast("dict[str, Any]", part).get("$ref", "")).removeprefix("#/$defs/") if isinstance(part, dict) else ""


def _named_in(part: Any) -> set[str]:
    if isinstance(part, dict):
        inner = set[str]().union(*map(_named_in, cast("dict[str, Any]", part).values()))
        return inner | {name for name in [_reference(part)] if name}
    if isinstance(part, list):
        return set[str]().union(*map(_named_in, cast("list[Any]", part)))
    return set()


def nodes_of(graph: Graph) -> tuple[str, ...]:
    """The names of a graph's nodes, in the order in which they were added."""
    return tuple(name for name in graph.nodes if name not in _OWN)


def speaks_in_messages(graph: Graph) -> bool:
    """Whether its state has a channel of messages."""
    return MESSAGES in graph.channels


def version_of(graph: Graph, factory: object | None) -> str:
    """Changes with the code: the sources of the nodes' functions, and of the factory."""
    digest = hashlib.sha256()
    for name, node in sorted(graph.nodes.items()):
        digest.update(name.encode())
        bound = node.bound
        for function in (getattr(bound, "func", None), getattr(bound, "afunc", None)):
            digest.update(_source(function))
    digest.update(_source(factory))
    return digest.hexdigest()[:16]


def _source(function: object | None) -> bytes:
    if function is None:
        return b""
    try:
        return inspect.getsource(cast(Any, function)).encode()
    except (OSError, TypeError):
        return b""
