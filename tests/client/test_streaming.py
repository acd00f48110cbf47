"""The streaming protocol of threads: its models, and the upgrade to a WebSocket over a real connection."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import ap_client
import httpx2
import pytest
from ap_client import aio
from ap_client.model import Model
from ap_client.models import (
    EventStreamRequest,
    StreamingCommand,
    StreamingCommandResponse,
    StreamingErrorResponse,
    StreamingEvent,
    StreamingSuccessResponse,
    StreamingSuccessResponseMeta,
)

from .fake import COMMANDED, FakeServer

T = "22222222-2222-4222-8222-222222222222"


def test_a_command_that_succeeds_reads_as_such() -> None:
    answer = ap_client.StreamingApi(FakeServer().client()).send_thread_streaming_command(T, {"id": 1, "method": "x"})
    assert isinstance(answer, StreamingCommandResponse)
    assert isinstance(answer.actual_instance, StreamingSuccessResponse)
    assert isinstance(answer.meta, StreamingSuccessResponseMeta)
    assert (answer.type, answer.id, answer.meta.applied_through_seq) == ("success", 1, 7)
    assert answer.to_dict() == COMMANDED


@pytest.mark.parametrize("number", [3, None])
def test_a_command_that_fails_is_an_answer_too(number: int | None) -> None:
    told = {"type": "error", "id": number, "error": "no_such_run", "message": "There is none.", "later": 1}
    answer = StreamingCommandResponse.from_dict(told)
    assert isinstance(answer.actual_instance, StreamingErrorResponse)
    assert (answer.id, answer.error, answer.message, answer.later) == (number, "no_such_run", "There is none.", 1)
    assert answer.to_dict() == told
    assert StreamingCommandResponse.from_json(answer.to_json()) == answer
    assert list(answer.problems()) == []


def test_an_error_without_the_key_id_is_not_what_the_document_allows() -> None:
    with pytest.raises(ap_client.ApiValueError, match="id: is required"):
        StreamingErrorResponse(type="error", error="e", message="m").validate()


def test_an_event_has_names_of_python_and_of_the_wire() -> None:
    told = {"type": "event", "eventId": "e1", "seq": 3, "method": "values", "params": {"namespace": []}, "runId": "r"}
    event = StreamingEvent.from_dict(told)
    assert (event.event_id, event.seq, event.runId) == ("e1", 3, "r")
    assert event.to_dict() == told
    assert StreamingEvent(type="event", method="m", params={}, event_id="e").to_dict()["eventId"] == "e"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (EventStreamRequest(), "channels: is required"),
        (EventStreamRequest(channels=[]), "channels: a length of 0 is less than 1"),
        (EventStreamRequest(channels=["values"], since=-1), "since: -1 is less than 0"),
        (EventStreamRequest(channels=["values"], depth=-1), "depth: -1 is less than 0"),
        (EventStreamRequest(channels="values"), "channels: 'values' is not a list"),
        (EventStreamRequest(channels=["values"], namespaces=["a"]), r"namespaces\[0\]: 'a' is not a list"),
        (StreamingCommand(method="m"), "id: is required"),
        (StreamingCommand(id=-1, method="m"), "id: -1 is less than 0"),
    ],
)
def test_what_the_document_does_not_allow_is_named_before_it_is_sent(request_: Model, sentence: str) -> None:
    with pytest.raises(ap_client.ApiValueError, match=sentence):
        request_.validate()


def test_the_bytes_of_the_stream_come_as_they_are_sent(server: FakeServer) -> None:
    gone_on = threading.Event()

    class Slow(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"id: 1\nevent: values\ndata: {}\n\n"
            assert gone_on.wait(5), "the first event should be seen before the second is sent"
            yield b"id: 2\nevent: values\ndata: {}\n\n"

    api = ap_client.StreamingApi(FakeServer(httpx2.Response(200, stream=Slow())).client())
    with api.open_thread_sse_stream_without_preload_content(T, {"channels": ["values"]}) as answer:
        pieces = answer.stream()
        assert next(pieces).startswith(b"id: 1")
        gone_on.set()
        assert next(pieces).startswith(b"id: 2")


@pytest.fixture
def echo() -> Iterator[tuple[str, list[bytes]]]:
    """A server that switches protocols, then echoes what it is sent; its URL, and the requests it saw."""
    heads: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(4096)
                heads.append(head)
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                while piece := connection.recv(4096):
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_websocket_is_asked_for_and_the_connection_handed_over(echo: tuple[str, list[bytes]]) -> None:
    url, heads = echo
    with ap_client.ApiClient(ap_client.Configuration(url)) as client:
        api = ap_client.StreamingApi(client)
        assert api.open_thread_websocket_stream(T) is None
        with api.open_thread_websocket_stream_without_preload_content(T) as answer:
            assert answer.status == 101
            answer.network_stream.write(b"frame")
            assert answer.network_stream.read(100, timeout=5) == b"frame"
    first = heads[0].decode().lower()
    assert first.startswith(f"get /threads/{T}/stream http/1.1\r\n")
    for header in ("connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-version: 13\r\n"):
        assert header in first
    keys = [
        next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")) for head in heads
    ]
    assert len(set(keys)) == 2


def test_a_websocket_can_be_asked_for_with_await(echo: tuple[str, list[bytes]]) -> None:
    async def scene() -> None:
        async with aio.ApiClient(ap_client.Configuration(echo[0])) as client:
            async with await aio.StreamingApi(client).open_thread_websocket_stream_without_preload_content(T) as answer:
                await answer.network_stream.write(b"frame")
                assert await answer.network_stream.read(100, timeout=5) == b"frame"

    asyncio.run(scene())


def test_a_server_that_does_not_switch_is_an_error() -> None:
    api = ap_client.StreamingApi(FakeServer(httpx2.Response(404, json={"code": "thread_not_found"})).client())
    with pytest.raises(ap_client.ApiException) as caught:
        api.open_thread_websocket_stream(T)
    assert (caught.value.status, caught.value.code) == (404, "thread_not_found")


def test_no_other_answer_of_status_101_is_a_success() -> None:
    api = ap_client.BackgroundRunsApi(FakeServer(httpx2.Response(101)).client())
    with pytest.raises(ap_client.ApiException, match="101"):
        api.get_run("r")
