"""Calls that are sent again, waits that outlive their connections, and creations that happen once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import ap_client
import httpx2
import pytest
from ap_client import aio
from ap_client.exceptions import ApiException, NotFoundException, ServiceException, TransportException
from ap_client.retry import Backoff, asked_seconds

from .fake import RUN, WAITED, FakeServer
from .stream_server import Scene, StreamServer, serving

RUN_ID = RUN["run_id"]


def scripted(*answers: httpx2.Response | Exception) -> FakeServer:
    script = iter(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = next(script)
        if isinstance(found, Exception):
            raise found
        return found

    return FakeServer(answer)


def busy() -> httpx2.Response:
    return httpx2.Response(503, json={"code": "unavailable"}, headers={"Retry-After": "7"})


def ok() -> httpx2.Response:
    return httpx2.Response(200, json=RUN)


CUT = httpx2.RemoteProtocolError("Server disconnected without sending a response.")
REFUSED = httpx2.ConnectError("refused")


def runs(server: FakeServer, retries: int | None = None) -> ap_client.BackgroundRunsApi:
    return ap_client.BackgroundRunsApi(server.client(ap_client.Configuration("http://server", retries=retries)))


@pytest.mark.parametrize("failure", [httpx2.Response(502), busy(), httpx2.Response(504), CUT, REFUSED], ids=str)
def test_a_failure_that_passes_is_tried_again(failure: httpx2.Response | Exception) -> None:
    server = scripted(failure, failure, ok())
    assert runs(server).get_run(RUN_ID).run_id == RUN_ID
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_any_other_failure_is_not(status: int) -> None:
    server = scripted(httpx2.Response(status))
    with pytest.raises(ApiException):
        runs(server).get_run(RUN_ID)


def test_it_is_tried_five_times_again_or_as_often_as_is_said() -> None:
    for retries, requests in ((None, 6), (2, 3), (0, 1)):
        server = scripted(*[busy() for _ in range(9)])
        with pytest.raises(ServiceException):
            runs(server, retries).get_run(RUN_ID)
        assert len(server.requests) == requests


def test_the_async_client_does_the_same() -> None:
    server = scripted(busy(), CUT, ok())
    assert asyncio.run(aio.BackgroundRunsApi(server.async_client()).get_run(RUN_ID)).run_id == RUN_ID


def test_what_may_not_be_done_twice_is_sent_again_only_when_it_was_not_taken() -> None:
    wish = {"metadata": {"a": 1}}
    for failure in (CUT, busy()):
        server = scripted(failure)
        with pytest.raises(ApiException):
            ap_client.ThreadsApi(server.client()).create_thread(wish)
    thread = httpx2.Response(200, json={"thread_id": "t"})
    server = scripted(REFUSED, httpx2.Response(429), thread)
    assert ap_client.ThreadsApi(server.client()).create_thread(wish).thread_id == "t"


def test_a_creation_is_repeated_with_the_same_key_and_every_creation_has_another() -> None:
    server = scripted(CUT, busy(), ok(), ok())
    api = runs(server)
    api.create_run({})
    api.create_run({})
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    server = scripted(ok())
    runs(server, retries=0).create_run({})
    assert "idempotency-key" not in server.last.headers


def test_the_text_of_a_created_stream_is_asked_for_again_with_its_key() -> None:
    with serving(Scene("event: x", cut=True), Scene("event: x\n\n")) as server:
        api = ap_client.RunsApi(ap_client.ApiClient(ap_client.Configuration(server.url)))
        assert api.create_and_stream_run({}) == "event: x\n\n"
    first, second = (asked.headers["idempotency-key"] for asked in server.asked)
    assert first == second


def test_a_stream_whose_creation_failed_is_created_once() -> None:
    end = 'id: 1\nevent: end\ndata: {"status": "success"}\n\n'
    with serving(Scene(status=503), Scene(cut=True), Scene(end)) as server:
        api = ap_client.RunsApi(ap_client.ApiClient(ap_client.Configuration(server.url)))
        assert [event.id for event in api.create_and_stream_run_events({})] == ["1"]
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1


def test_a_deletion_that_was_cut_off_and_is_done_is_done() -> None:
    assert runs(scripted(CUT, httpx2.Response(404))).delete_run(RUN_ID) is None
    with pytest.raises(NotFoundException):
        runs(scripted(REFUSED, httpx2.Response(404))).delete_run(RUN_ID)


def test_an_honest_answer_is_not_asked_for_again() -> None:
    server = scripted(httpx2.Response(504, json={"code": "still_stopping"}))
    with pytest.raises(ServiceException):
        runs(server).cancel_run(RUN_ID, wait=True)


def test_the_time_that_the_caller_gave_is_not_given_twice() -> None:
    server = scripted(httpx2.ReadTimeout("slow"))
    with pytest.raises(TransportException) as caught:
        runs(server).get_run(RUN_ID, _request_timeout=1)
    assert caught.value.timed_out


@contextmanager
def waited_for(*script: Scene) -> Iterator[tuple[StreamServer, ap_client.ApiClient]]:
    with serving(*script) as server, ap_client.ApiClient(ap_client.Configuration(server.url)) as client:
        yield server, client


ENDED = Scene("\n" + json.dumps(WAITED))


def test_a_wait_goes_on_over_cut_connections_and_proxies_that_give_up() -> None:
    gone = [Scene("\n\n", cut=True), Scene("\n\n"), *[Scene(status=504)] * 4, *[Scene(status=502)] * 4]
    with waited_for(*gone, ENDED) as (server, client):
        assert ap_client.BackgroundRunsApi(client).wait_run(RUN_ID).values == {"output": 1}
    assert len(server.asked) == 11


def test_a_wait_for_a_server_that_never_answered_gives_up() -> None:
    with waited_for(*[Scene(status=503)] * 6) as (_, client):
        with pytest.raises(ServiceException):
            ap_client.BackgroundRunsApi(client).wait_run(RUN_ID)


@pytest.mark.parametrize("shell", ["sync", "async"])
def test_a_wait_ends_with_the_time_that_the_caller_gave(shell: str) -> None:
    async def ask_async(url: str) -> None:
        async with aio.ApiClient(ap_client.Configuration(url)) as client:
            await aio.BackgroundRunsApi(client).wait_run(RUN_ID, _request_timeout=0.05)

    with waited_for(Scene("\n", hold=True)) as (server, client):
        api = ap_client.BackgroundRunsApi(client)
        ask = {
            "sync": lambda: api.wait_run(RUN_ID, _request_timeout=0.05),
            "async": lambda: asyncio.run(ask_async(server.url)),
        }[shell]
        with pytest.raises(TransportException) as caught:
            ask()
    assert caught.value.timed_out


def test_a_created_wait_goes_on_with_the_run_that_was_named_or_with_its_key() -> None:
    named = Scene("\n", cut=True, headers={"Content-Location": f"/runs/{RUN_ID}"})
    with waited_for(Scene(status=503), named, ENDED) as (server, client):
        ap_client.RunsApi(client).create_and_wait_run({})
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/runs/wait"),
        ("POST", "/runs/wait"),
        ("GET", f"/runs/{RUN_ID}/wait"),
    ]
    assert server.asked[0].headers["idempotency-key"] == server.asked[1].headers["idempotency-key"]


def test_retry_after_is_seconds_or_a_date() -> None:
    date = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert asked_seconds({"Retry-After": "7"}) == 7
    assert asked_seconds({"Retry-After": "Wed, 21 Oct 2015 07:28:09 GMT", **date}) == 9
    assert asked_seconds({"Retry-After": "9999999"}) == 60
    assert [asked_seconds(headers) for headers in (None, {}, {"Retry-After": "soon"})] == [None] * 3


def test_the_server_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(Backoff, "seconds", lambda self, failures, at_least: asked.append(at_least) or 0.0)
    runs(scripted(busy(), httpx2.Response(503), ok())).get_run(RUN_ID)
    assert asked == [7.0, 0.0]
