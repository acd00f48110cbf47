"""The served OpenAPI document, made from the route table and from the very types that validate and answer.

It is a superset of the Agent Protocol's own documents (of April 2025 and of today), with what is wrong in them put
right: `RunStream` there demands fields of the answer, `Run` lacks its status, and streams are declared as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from runyard.api import answers
from runyard.api.operation import Operation
from runyard.api.streaming.requests import SHAPE as STREAM_REQUEST
from runyard.api.system import PROTOCOL_VERSION
from runyard.api.wire import CURSOR, EVENT_ID

Json = dict[str, Any]
Paths = Iterable[tuple[str, Mapping[str, Operation]]]

_REF = "#/components/schemas/{name}"
_UUIDS = ("run_id", "thread_id")

_REASONS = {
    400: "The namespace is malformed",
    401: "No key, or an unknown one",
    403: "The key's scope, the Host or the Origin does not allow this",
    404: "Not Found",
    408: "The body has not come in time",
    409: "Conflict",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "Validation Error",
    426: "A WebSocket is needed",
    429: "As many runs are pending as may be",
    500: "What was asked about does not work",
    503: "The server cannot take this now",
    504: "The run's code has not stopped within the grace period",
}

_HEADERS: dict[str, Json] = {
    "Idempotency-Key": {
        "description": "The same key and body again: the same run. Another body: 422.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "Last-Event-ID": {
        "description": "Replay events with a larger id, then go on; `0`, `-1` and `-` are the start.",
        "schema": {"type": "string", "pattern": CURSOR},
    },
    "Prefer": {"description": "`return=minimal`: an answer without a body.", "schema": {"type": "string"}},
}
_FRAME_CURSOR: Json = {
    "description": "Replay what comes behind the frame of this id, then go on. It counts where the body has no cursor.",
    "schema": {"type": "string", "pattern": EVENT_ID},
}


_WEBHOOK: Json = {
    "operationId": "run_ended",
    "summary": "A run has ended",
    "description": "Posted to the URL that the run was created with as `webhook`, signed after Standard Webhooks.",
    "parameters": [
        {"name": name, "in": "header", "required": name != "webhook-signature", "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="WebhookEvent")}}},
    },
    "responses": {"2XX": {"description": "Delivered"}, "410": {"description": "No more tries"}},
}


class About(msgspec.Struct, frozen=True):
    """What a document describes: a face of the API."""

    title: str
    description: str
    error: type[msgspec.Struct]
    """The body of a refusal."""
    webhooks: Mapping[str, Json] = {}


AGENT_PROTOCOL = About(
    "Runyard: Agent Protocol",
    f"The Agent Protocol {PROTOCOL_VERSION} for agents that run in the background.",
    answers.ErrorResponse,
    {"run_ended": {"post": _WEBHOOK}},
)


class _Security(msgspec.Struct):
    """What a deployment says of who may ask."""

    schemes: dict[str, Json]
    security: list[Json] | None
    paths: dict[str, dict[str, list[Json]]]

    def put_into(self, document: Json) -> None:
        """Adds it to a document, in place of what that says where nobody knows."""
        document["components"]["securitySchemes"] |= self.schemes
        if self.security is not None:
            document["security"] = self.security
        for path, methods in document["paths"].items():
            named = {method.lower(): needs for method, needs in self.paths.get(path, {}).items()}
            for method, described in methods.items():
                if method in named:
                    described["security"] = named[method]
                elif self.security is not None and described.pop("security", None) is None:
                    described["security"] = []  # of anybody


def security(
    schemes: Mapping[str, Json],
    everywhere: list[dict[str, list[str]]] | None,
    paths: Mapping[str, Mapping[str, list[dict[str, list[str]]]]],
    *,
    keys: bool,
) -> bytes:
    """What a deployment says of who may ask, as text for `document`; with `keys` a key is needed beside all of it."""

    def both(needs: list[dict[str, list[str]]]) -> list[Json]:
        return [{**one, "key": []} for one in needs or [{}]] if keys else [*needs]

    said = _Security(
        dict(schemes),
        None if everywhere is None else both(everywhere),
        {path: {method: both(needs) for method, needs in methods.items()} for path, methods in paths.items()},
    )
    return msgspec.json.encode(said)


def document(paths: Paths, version: str, about: About = AGENT_PROTOCOL, security: bytes = b"") -> Json:
    """The OpenAPI 3.1 document of these paths; `security` is what the function of that name gives."""
    table = [(path, method, operation) for path, methods in paths for method, operation in methods.items()]
    described = _Types((operation for _, _, operation in table), about.error)
    found: dict[str, Json] = {}
    for path, method, operation in table:
        found.setdefault(path, {})[method.lower()] = _operation(path, operation, described)
    whole: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": version,
            "description": about.description,
        },
        "paths": found,
        "webhooks": dict(about.webhooks),
        "components": {
            "schemas": described.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    if security:
        msgspec.json.decode(security, type=_Security).put_into(whole)
    return whole


class _Types:
    """The JSON Schemas of every type that an operation names."""

    def __init__(self, operations: Iterable[Operation], error: type[msgspec.Struct]) -> None:
        kinds: list[Any] = [error]
        reference = {"$ref": _REF.format(name=error.__name__)}
        self.error: Json = {"application/json": {"schema": reference}}
        for operation in operations:
            kinds += [] if operation.body is None else [operation.body.type]
            kinds += [] if operation.answer is None else [operation.answer]
        schemas, self.components = msgspec.json.schema_components(kinds, ref_template=_REF)
        # Types are compared by identity: two annotations that are equal have equal schemas anyway.
        self._by_id = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}

    def schema(self, kind: Any) -> Json:
        return self._by_id[id(kind)]


def _operation(path: str, operation: Operation, types: _Types) -> Json:
    summary, _, description = operation.text.partition("\n\n")
    described: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": summary.strip(),
        "parameters": [*_path_parameters(path), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(path, operation, types),
    }
    if description:
        described["description"] = " ".join(description.split())
    if operation.body is not None:
        schema = types.schema(operation.body.type)
        if operation.many:
            schema = {"type": "array", "items": schema}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.needs != "nothing":
        described["security"] = [{}, {"bearer": []}, {"key": []}]
    return described


def path_parameters(path: str) -> list[str]:
    """The names in a path's braces, in order."""
    return [piece.partition("}")[0] for piece in path.split("{")[1:]]


def query_schema(operation: Operation) -> Json:
    """The JSON Schema of an operation's query string."""
    _, components = msgspec.json.schema_components([operation.query.type], ref_template=_REF)
    return cast("Json", components[operation.query.type.__name__])


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if name in _UUIDS else {"type": "string"},
        }
        for name in path_parameters(path)
    ]


def _query_parameters(operation: Operation) -> list[Json]:
    schema = query_schema(operation)
    found: list[Json] = []
    for name, described in schema["properties"].items():
        parameter: Json = {"name": name, "in": "query", "required": name in schema["required"]}
        if "description" in described:
            parameter["description"] = described.pop("description")
        parameter["schema"] = described
        found.append(parameter)
    return found


def _headers(operation: Operation) -> list[Json]:
    described = _HEADERS if operation.body is not STREAM_REQUEST else {**_HEADERS, "Last-Event-ID": _FRAME_CURSOR}
    return [{"name": name, "in": "header", "required": False, **described[name]} for name in operation.headers]


def _responses(path: str, operation: Operation, types: _Types) -> Json:
    if operation.socket is not None:
        responses: Json = {"101": {"description": "Switching Protocols"}}
    elif operation.answer is None:
        responses = {"204": {"description": "Success"}}
    else:
        content: Json = {"schema": types.schema(operation.answer)}
        if operation.media == "text/event-stream":
            # What OpenAPI has from 3.2 on for the pieces of such an answer; earlier readers pass over it.
            content = {"schema": {"description": operation.answer.__doc__}, "itemSchema": content["schema"]}
        responses = {"200": {"description": "Success", "content": {operation.media: content}}}
    for status in sorted({*operation.errors, *_usual_errors(path, operation)}):
        content = types.error
        if status == 503 and operation.needs == "nothing":
            content = {"application/json": {"schema": types.schema(operation.answer)}}
        responses[str(status)] = {"description": _REASONS[status], "content": content}
    return responses


def _usual_errors(path: str, operation: Operation) -> set[int]:
    """The refusals that follow from what an operation takes."""
    if operation.needs == "nothing":
        return {403}
    usual = {401, 403, 503}
    if operation.body is not None:
        usual |= {408, 413, 415, 422}
    if query_schema(operation)["properties"] or any(name in _UUIDS for name in path_parameters(path)):
        usual.add(422)
    return usual
