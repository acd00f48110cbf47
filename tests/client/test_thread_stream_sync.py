"""The same stream for code without an event loop: its connection lives in a thread of its own."""

from __future__ import annotations

import gc
import inspect
import pydoc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ap_client
import httpx2
import pytest
from ap_client import EventsMissed, Missed, Runyard, ThreadStream, aio
from ap_client.exceptions import CommandError, TransportException
from ap_client.retry import Backoff

from .fake import RUN, FakeServer
from .thread_server import (
    Fault,
    ThreadServer,
    begun,
    delta,
    finished,
    free_port,
    lifecycle,
    listening,
    said_by,
    thread_server,
    told,
)

both = pytest.mark.parametrize("transport", ["sse", "websocket"])
STARTED = [lifecycle("started"), lifecycle("running")]


@contextmanager
def watching(server: ThreadServer, transport: str = "sse", tries: int = 10_000, **more: Any) -> Iterator[ThreadStream]:
    configuration = ap_client.Configuration(server.url)
    configuration.backoff = Backoff(tries=tries)
    with ap_client.ApiClient(configuration) as client:
        with ThreadStream(client, "thread-1", "agent", transport=transport, **more) as stream:
            yield stream


def until(holds: Any) -> None:
    while not holds():
        time.sleep(0.001)


@both
def test_a_turn_is_started_watched_asked_and_answered(transport: str) -> None:
    def answer(command: dict[str, Any]) -> dict[str, Any]:
        if command["method"] == "run.start":
            question = told("input.requested", {"interruptId": "q", "payload": {"sure": "?"}})
            for entry in (*STARTED, *said_by("m", "hel", "lo"), question, lifecycle("interrupted")):
                server.append([entry])
            return {"runId": "run-1"}
        if command["method"] == "input.respond":
            value = command["params"]["response"]
            custom = told("custom", {"name": "answer", "payload": value}, run="run-2")
            for entry in (lifecycle("started", "run-2"), custom, lifecycle("completed", "run-2")):
                server.append([entry])
            return {"runId": "run-2"}
        return {"values": {"a": 1}, "checkpoint": {"id": "c"}}

    with thread_server(answer=answer) as server, watching(server, transport) as stream:
        assert stream.start("hi") == "run-1" == stream.run_id
        (message,) = stream.messages()
        assert ([*message], message.text, message.read().usage) == (["hel", "lo"], "hello", {"outputTokens": 3})
        assert [event.event for event in stream.lifecycle()] == ["started", "running", "interrupted"]
        (question,) = stream.questions
        assert question.payload == {"sure": "?"}
        assert question.answer("yes") == "run-2" == stream.run_id
        assert [(event.name, event.payload) for event in stream.custom()] == [("answer", "yes")]
        assert stream.questions == []
        assert stream.state() == ap_client.StateSnapshot({"a": 1}, "c")
        assert (stream.thread_id, stream.agent_id) == ("thread-1", "agent")


@both
def test_a_cut_in_the_middle_is_not_noticed(transport: str) -> None:
    group = [told("custom", {"payload": number}) for number in range(3)]
    with (
        thread_server(faults=[Fault(after) for after in (5, 2, 1, 7)]) as server,
        watching(server, transport) as stream,
    ):
        server.tell(*STARTED, *[group] * 5, lifecycle("completed"))
        assert [event.payload for event in stream.custom(run_id="run-1")] == [0, 1, 2] * 5
        assert len(server.headers) >= 4


def test_threads_share_a_stream_and_one_may_close_it_under_the_others() -> None:
    with thread_server() as server, watching(server) as stream:
        found: dict[str, list[Any]] = {"custom": [], "updates": []}

        def read(name: str, subscription: Any) -> None:
            for event in subscription:
                found[name].append(event.event_id)

        readers = [
            threading.Thread(target=read, args=(name, subscription))
            for name, subscription in (("custom", stream.custom()), ("updates", stream.updates()))
        ]
        for reader in readers:
            reader.start()
        server.tell(*[told("custom", {"payload": 1}), told("updates", {"values": {}})] * 20)
        until(lambda: len(found["custom"]) == len(found["updates"]) == 20)
        stream.close()
        for reader in readers:
            reader.join()
        assert found["custom"] == [str(number) for number in range(1, 41, 2)]
        with pytest.raises(ap_client.ApiValueError, match="closed"):
            stream.values()
        with pytest.raises(ap_client.ApiValueError, match="closed"):
            stream.start(1)
        stream.close()


def test_what_came_before_the_end_can_still_be_had() -> None:
    with thread_server() as server:
        with watching(server) as stream:
            customs, messages = stream.custom(), stream.messages()
            server.tell(
                *STARTED, told("custom", {"payload": 1}), told("custom", {"payload": 2}), begun("m"), delta("m", "a")
            )
            message = next(messages)
            pieces = iter(message)
            assert next(pieces) == "a"
            until(lambda: len(customs._inbox.items) == 2)
        assert [event.payload for event in customs] == [1, 2]
        assert list(pieces) == []
        assert (message.read().status, list(message), message.text) == ("dropped", ["a"], "a")
        customs.close()


def test_a_message_is_read_while_it_comes() -> None:
    with thread_server() as server, watching(server) as stream:
        messages = stream.messages()
        server.tell(*STARTED, begun("m"), delta("m", "one "))
        message = next(messages)
        pieces = iter(message)
        assert (next(pieces), message.done) == ("one ", False)
        server.tell(delta("m", "two"), finished("m"))
        assert (list(pieces), message.done, message.text) == (["two"], True, "one two")
        with messages:
            pass
        assert list(messages) == []


def test_errors_come_to_who_called() -> None:
    missed: list[Missed] = []
    server = ThreadServer(port=free_port(), answer=lambda command: {"error": "unknown_error", "message": "m"})
    with listening(server), watching(server, tries=2) as stream:
        server.tell(*[told("custom", {"payload": 1})] * 3)
        server.floor = 2
        with pytest.raises(CommandError, match="unknown_error: m"):
            stream.inject("x")
        with pytest.raises(ap_client.ApiTypeError, match="a question is"):
            stream.respond(3, "x")
        with pytest.raises(ap_client.ApiValueError, match="channels must be of values"):
            stream.subscribe("message")
    with listening(server), watching(server, since=0, on_missed=missed.append) as stream:
        assert next(stream.custom()).event_id == "3"
        assert missed == [Missed(1, 2, 2)]
    with listening(server), watching(server, since=0, tries=2) as stream:
        customs = stream.custom()
        with pytest.raises(EventsMissed, match="no longer holds 2 events, of its entries 1 to 2"):
            next(customs)
        assert next(customs).event_id == "3"
    with watching(server) as stream:
        for _ in range(2):
            with pytest.raises(TransportException):
                stream.start(1)


def test_a_stream_without_an_agent_is_told_one() -> None:
    with thread_server() as server, ap_client.ApiClient(ap_client.Configuration(server.url)) as client:
        with ThreadStream(client) as stream:
            with pytest.raises(ap_client.ApiValueError, match="agent_id must be given"):
                stream.start(1)
            assert stream.start(1, agent_id="a") == ""
            assert server.commands[-1]["params"] == {"assistantId": "a", "input": 1}
            assert server.paths[-1] == f"/threads/{stream.thread_id}/commands"


@pytest.mark.parametrize(
    ("more", "why"),
    [({"transport": "pigeons"}, "sse, websocket, not 'pigeons'"), ({"held": 0}, "held must be at least 1, not 0")],
)
def test_what_a_stream_cannot_be_made_with_is_refused(more: Any, why: str, server: FakeServer) -> None:
    before = threading.active_count()
    for made in (
        lambda: ThreadStream(server.client(), **more),
        lambda: aio.ThreadStream(server.async_client(), **more),
    ):
        with pytest.raises(ap_client.ApiValueError, match=why):
            made()
    assert threading.active_count() == before


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    with pytest.raises(ImportError, match=r"pip install 'runyard-client\[websocket\]'"):
        ThreadStream(server.client(), transport="websocket")


def test_a_stream_that_was_forgotten_closes_its_connection() -> None:
    with thread_server() as server:
        stream = ThreadStream(ap_client.ApiClient(ap_client.Configuration(server.url)), "thread-1")
        customs = stream.custom()
        server.tell(told("custom", {"payload": 1}))
        assert next(customs).payload == 1
        assert server.open_now == 1
        del stream, customs
        gc.collect()
        until(lambda: server.open_now == 0)


def test_a_given_http_client_is_sent_over() -> None:
    with thread_server(greeting=True) as server:
        with httpx2.Client(headers={"X-Mine": "yes"}) as http:
            client = ap_client.ApiClient(ap_client.Configuration(server.url), http_client=http)
            with ThreadStream(client, "thread-1", "agent") as stream:
                customs = stream.custom()
                server.tell(told("custom", {"payload": 1}))
                assert next(customs).payload == 1
                stream.start(1)
                # A new stream takes over from one that a thread is reading.
                updates = stream.updates()
                server.tell(told("updates", {"values": {"a": 1}}))
                assert next(updates).values == {"a": 1}
            until(lambda: server.open_now == 0)
            assert {headers.get("x-mine") for headers in server.headers} == {"yes"}
            assert not http.is_closed


def test_handles_open_streams() -> None:
    with thread_server() as server, Runyard(server.url, "secret") as ry:
        with ry.stream("thread-1", "agent", depth=0) as stream:
            assert (stream.thread_id, stream.agent_id) == ("thread-1", "agent")
            server.tell(told("custom", {"payload": 1}, namespace=["a"]), told("custom", {"payload": 2}))
            assert next(stream.custom()).payload == 2
            assert server.bodies == [{"channels": ["lifecycle", "input", "custom"], "depth": 0}]
            assert server.headers[-1]["authorization"] == "Bearer secret"
        assert repr(stream) == "<stream of thread thread-1>"
    fake = FakeServer()
    thread = Runyard(api_client=fake.client()).thread()
    with thread.stream("agent") as stream:
        assert stream.thread_id == RUN["thread_id"]


@pytest.mark.parametrize("kind", [ThreadStream, aio.ThreadStream])
def test_help_says_what_a_user_gives_and_gets(kind: Any) -> None:
    told = pydoc.plain(pydoc.render_doc(kind))
    for inner in ("watch:", "Steering", "Generator", "Inbox", "MessageState"):
        assert inner not in told
    methods = {name: getattr(kind, name) for name in vars(kind) if not name.startswith("_")}
    for name, method in methods.items():
        assert inspect.getdoc(method), name
        if not isinstance(method, property):
            assert next(iter(inspect.signature(method).parameters)) == "self"
    start = inspect.signature(kind.start)
    assert (list(start.parameters)[1:3], start.return_annotation) == (["input", "agent_id"], str)
    assert "ThreadMessage" in str(inspect.signature(kind.messages).return_annotation)
    assert "ToolsEvent" in str(inspect.signature(kind.tools).return_annotation)
    assert inspect.signature(kind.tools).parameters["run_id"].default.name == "LAST"
    assert "= LAST_STARTED" in told
