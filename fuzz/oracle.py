"""What an answer has to be: one that the served OpenAPI document has for the operation, in its form."""

from __future__ import annotations

import json
import re
from typing import Any

from ap_client.sse import EventParser

from fuzz.wire import Answer, Request

CODES = frozenset(
    """
    malformed_namespace malformed_request headers_too_large unauthorized forbidden agent_not_found thread_not_found
    run_not_found checkpoint_not_found item_not_found not_found method_not_allowed request_timeout too_large
    unsupported_media_type thread_exists thread_busy run_active not_interrupted rollback_not_latest too_many_runs
    validation_error unsupported idempotency_mismatch
    """.split()  # noqa: SIM905
)
"""The codes of docs/api.md, but for those of a server that fails."""

COMMAND = "send_thread_streaming_command"
COMMAND_CODES = frozenset(
    """
    invalid_argument unknown_command no_such_run no_such_namespace no_such_interrupt no_such_checkpoint not_supported
    """.split()  # noqa: SIM905
)
"""The codes of the streaming protocol, but for those of a server that fails, of keys, and of WebSockets."""

_HTTP_ITSELF = frozenset({400, 431})
"""Answered before there is an operation: the request was no HTTP."""


class Oracle:
    """Judges answers by a document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths = [
            (re.compile("^" + re.sub(r"\{\w+\}", "[^/]+", path) + "$"), path, methods)
            for path, methods in sorted(document["paths"].items(), key=lambda pair: pair[0].count("{"))
        ]

    def operation(self, request: Request) -> tuple[str, dict[str, Any] | None]:
        """The operation that a request reaches: its id and description; one that there is not has a name too."""
        path = request.path.partition("?")[0].removeprefix("http://127.0.0.1")
        for pattern, _, methods in self._paths:
            if pattern.match(path):
                found = methods.get(request.method.lower()) if request.method.isupper() else None
                return (found["operationId"], found) if found else ("(no such method)", None)
        return "(no such path)", None

    def faults(self, request: Request, answer: Answer) -> list[str]:
        """What is wrong with an answer; nothing where it is right."""
        name, described = self.operation(request)
        status = answer.status
        faults: list[str] = []
        if status >= 500:
            faults.append("a client's mistake is no failure of the server")
        # What escapes stand for may make a path another one.
        elsewhere = "%" in request.path and status in (404, 405)
        expected = _HTTP_ITSELF if described is None else {*_HTTP_ITSELF, *map(int, described["responses"])}
        if described is not None and status not in expected and not elsewhere:
            faults.append(f"{status} is not documented for {name}")
        if described is None and status < 400 and "%" not in request.path:
            faults.append(f"{status} where there is nothing")
        if not answer.complete or request.method == "HEAD" or status == 204:
            return faults
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if name == COMMAND and kind == "application/json" and b'"type":' in answer.body[:10]:
            return faults + _command_faults(answer)
        if status >= 400:
            return faults + self._refusal_faults(answer, kind)
        if described is not None:
            documented = described["responses"].get(str(status), {}).get("content", {})
            if kind not in documented:
                faults.append(f"the content type {kind!r} is not documented")
        return faults + _content_faults(answer, kind)

    def _refusal_faults(self, answer: Answer, kind: str) -> list[str]:
        try:
            told = json.loads(answer.body)
        except ValueError:
            return ["a refusal that is not JSON"]
        if kind != "application/json" or set(told) != {"code", "message", "metadata"}:
            return ["a refusal without the shape of one"]
        faults = [] if told["code"] in CODES else [f"the code {told['code']!r} is not documented"]
        if answer.status == 422 and not told["metadata"].get("field"):
            faults.append("422 that names no field")
        if answer.status == 405 and not answer.headers.get("allow"):
            faults.append("405 without Allow")
        return faults


def _command_faults(answer: Answer) -> list[str]:
    told = json.loads(answer.body, parse_constant=_refuse)
    if answer.status == 200 and told["type"] == "success":
        fine = set(told) == {"type", "id", "result", "meta"} and type(told["meta"]["appliedThroughSeq"]) is int
        return [] if fine else ["a command that was done without the shape of its response"]
    if set(told) != {"type", "id", "error", "message", "code", "metadata"} or told["type"] != "error":
        return ["a command that was refused without the shape of its response"]
    if told["error"] not in COMMAND_CODES or (told["id"] is None) != (answer.status == 422):
        return [f"the code {told['error']!r} for a command, with {answer.status}"]
    return []


def _content_faults(answer: Answer, kind: str) -> list[str]:
    try:
        if kind == "application/json":
            json.loads(answer.body, parse_constant=_refuse)
        elif kind == "text/event-stream":
            events = list(EventParser().feed(answer.body))
            if [event.event for event in events][-1:] != ["end"]:
                return ["a stream that has no end"]
            ids = [int(line[4:]) for line in answer.body.split(b"\n") if line.startswith(b"id: ")]
            if ids != sorted(set(ids)):
                return ["the numbers of a stream do not rise"]
    except ValueError as error:
        return [f"an answer that cannot be read: {error}"]
    return []


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
