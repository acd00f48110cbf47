"""Event iterators: they survive broken connections, and end with the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import ap_client
import pytest
from ap_client import ServerEvent, aio
from ap_client.call import Call
from ap_client.exceptions import ApiException, NotFoundException, ServiceException, TransportException
from ap_client.retry import Backoff
from ap_client.subscription import Subscription

from .fake import FakeServer
from .stream_server import Scene, serving

RUN_ID = "11111111-1111-4111-8111-111111111111"


def event(number: int, name: str = "values", data: object = None) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


END = event(9, "end", {"status": "success"})
FIRST = Scene(event(1, "metadata", {"run_id": RUN_ID, "attempt": 1}) + event(2) + "id: 3\nevent: val", cut=True)
SECOND = Scene(event(3) + event(4, "updates|child"), cut=True)
THIRD = Scene(event(5, "custom") + END)
NUMBERS = ["1", "2", "3", "4", "5", "9"]


def background(url: str) -> ap_client.BackgroundRunsApi:
    return ap_client.BackgroundRunsApi(ap_client.ApiClient(ap_client.Configuration(url)))


def test_a_cut_stream_is_resumed_after_the_last_event_seen() -> None:
    with serving(FIRST, SECOND, THIRD) as server:
        events = list(background(server.url).stream_run_events(RUN_ID))
    assert [each.id for each in events] == NUMBERS
    assert events[-1] == ServerEvent("end", {"status": "success"}, "9")
    assert [asked.path for asked in server.asked] == [
        f"/runs/{RUN_ID}/stream?since=0",
        f"/runs/{RUN_ID}/stream",
        f"/runs/{RUN_ID}/stream",
    ]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "2", "4"]
    assert {asked.headers["accept"] for asked in server.asked} == {"text/event-stream"}


def test_the_async_iterator_does_the_same() -> None:
    async def scene(url: str) -> list[ServerEvent]:
        async with aio.ApiClient(ap_client.Configuration(url)) as client:
            async with await aio.BackgroundRunsApi(client).stream_run_events(RUN_ID) as events:
                return [each async for each in events]

    with serving(FIRST, SECOND, THIRD) as server:
        assert [each.id for each in asyncio.run(scene(server.url))] == NUMBERS
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "2", "4"]


def test_a_created_run_is_followed_by_its_address_and_outlives_the_connection() -> None:
    first = Scene(event(1), cut=True, headers={"Content-Location": f"/threads/t/runs/{RUN_ID}"})
    with serving(first, Scene(event(2) + END)) as server:
        runs = ap_client.RunsApi(ap_client.ApiClient(ap_client.Configuration(server.url)))
        events = runs.create_and_stream_run_events(ap_client.RunCreate(agent_id="e"), _headers={"Idempotency-Key": "k"})
        assert events.run_id == RUN_ID
        assert [each.id for each in events] == ["1", "2", "9"]
    created, resumed = server.asked
    assert (created.method, created.path) == ("POST", "/runs/stream")
    assert json.loads(created.body) == {"agent_id": "e", "on_disconnect": "continue"}
    assert created.headers["idempotency-key"] == "k"
    assert (resumed.method, resumed.path, resumed.body) == ("GET", f"/runs/{RUN_ID}/stream", b"")
    assert resumed.headers["last-event-id"] == "1"


def test_a_created_run_is_followed_by_its_metadata_event_too() -> None:
    with serving(FIRST, THIRD) as server:
        runs = ap_client.RunsApi(ap_client.ApiClient(ap_client.Configuration(server.url)))
        assert [each.id for each in runs.create_and_stream_run_events({})] == ["1", "2", "5", "9"]
    assert server.asked[1].path == f"/runs/{RUN_ID}/stream"


def test_a_wish_that_says_cancel_and_a_stream_that_does_not_reconnect_stay_as_they_are(
    server: FakeServer,
) -> None:
    runs, wish = ap_client.RunsApi(server.client()), ap_client.RunCreate(agent_id="e")
    list(runs.create_and_stream_run_events(run_stream=wish.but(on_disconnect="cancel")))
    assert server.last_body["on_disconnect"] == "cancel"
    list(runs.create_and_stream_run_events(wish, reconnect=False))
    assert server.last_body == {"agent_id": "e"}
    list(runs.create_and_stream_run_events(wish))
    assert wish.to_dict() == {"agent_id": "e"}


def test_since_says_where_to_begin(server: FakeServer) -> None:
    api = ap_client.BackgroundRunsApi(server.client())
    list(api.stream_run_events(RUN_ID, since=41))
    assert server.last.url.query == b"since=41"
    list(api.stream_run_events(RUN_ID, since=None))
    assert server.last.url.query == b""


def test_modes_are_asked_for_again_after_a_loss_and_kept_to() -> None:
    mixed = event(1, "metadata") + event(2) + event(3, "updates|x") + event(4, "custom")
    with serving(Scene(mixed, cut=True), Scene(event(5) + END)) as server:
        chosen = list(background(server.url).stream_run_events(RUN_ID, modes=["updates", "custom"]))
    assert [each.event for each in chosen] == ["metadata", "updates|x", "custom", "end"]
    assert [asked.path.partition("?")[2] for asked in server.asked] == [
        "since=0&stream_mode=updates&stream_mode=custom",
        "stream_mode=updates&stream_mode=custom",
    ]


def test_modes_of_a_run_to_create_are_its_stream_mode_unless_it_says_one(server: FakeServer) -> None:
    runs = ap_client.RunsApi(server.client())
    list(runs.create_and_stream_run_events({}, modes="messages"))
    assert server.last_body["stream_mode"] == ["messages"]
    list(runs.create_and_stream_run_events({"stream_mode": "values"}, modes=["messages"]))
    assert server.last_body["stream_mode"] == "values"


def test_a_stream_lost_before_its_first_event_is_asked_for_from_the_same_place() -> None:
    with serving(Scene("id: 6\nda", cut=True), Scene(END)) as server:
        list(background(server.url).stream_run_events(RUN_ID, since=5))
    assert [asked.path for asked in server.asked] == [f"/runs/{RUN_ID}/stream?since=5"] * 2


def test_an_end_without_an_outcome_is_a_server_that_goes_away_not_a_run_that_ended() -> None:
    goodbye = Scene(event(1) + event(2, "end", {"status": "pending"}))
    with serving(goodbye, Scene(status=503, headers={"Retry-After": "0"}), THIRD) as server:
        events = list(background(server.url).stream_run_events(RUN_ID))
    assert [each.id for each in events] == ["1", "2", "5", "9"]


def test_the_request_is_sent_at_once_and_its_refusal_raised() -> None:
    with serving(Scene('{"code": "run_not_found"}', status=404)) as server:
        with pytest.raises(NotFoundException) as caught:
            background(server.url).stream_run_events(RUN_ID)
    assert caught.value.code == "run_not_found"


def test_a_refusal_on_the_way_is_raised_a_failure_is_tried_again() -> None:
    with serving(FIRST, Scene(status=503), Scene("{}", status=404)) as server:
        events = background(server.url).stream_run_events(RUN_ID)
        assert [next(events).id, next(events).id] == ["1", "2"]
        with pytest.raises(NotFoundException):
            next(events)
        assert list(events) == []
    assert len(server.asked) == 3


def test_it_gives_up_after_ten_tries_without_an_event() -> None:
    with serving(FIRST, *[Scene(cut=True)] * 9, Scene(status=503)) as server:
        events = background(server.url).stream_run_events(RUN_ID)
        with pytest.raises(ServiceException):
            list(events)
    assert len(server.asked) == 11


def test_without_reconnecting_a_cut_is_an_error_and_an_end_is_an_end() -> None:
    with serving(FIRST, Scene(event(1))) as server:
        with pytest.raises(TransportException):
            list(background(server.url).stream_run_events(RUN_ID, reconnect=False))
        assert [each.id for each in background(server.url).stream_run_events(RUN_ID, reconnect=False)] == ["1"]
    assert len(server.asked) == 2


def test_closing_the_iterator_closes_the_connection() -> None:
    with serving(Scene(event(1), hold=True)) as server:
        with background(server.url).stream_run_events(RUN_ID) as events:
            assert next(events).id == "1"
            assert events.last_event_id == "1"
        assert server.hung_up.wait(5)
        assert list(events) == []


def test_leaving_a_loop_closes_the_connection() -> None:
    def loop(url: str) -> Iterator[str | None]:
        for each in background(url).stream_run_events(RUN_ID):
            yield each.id
            break

    with serving(Scene(event(1), hold=True)) as server:
        assert list(loop(server.url)) == ["1"]
        assert server.hung_up.wait(5)


def test_a_silent_stream_counts_as_lost_unless_told_otherwise() -> None:
    def call(run_id: str) -> Call[str]:
        return Call("GET", "/runs/{run_id}/stream", str, {}, ids={"run_id": run_id})

    assert Subscription(call("r"), call).next_call().options.get("_request_timeout") == (10.0, 60.0)
    patient = Call("GET", "/runs/r/stream", str, {"_request_timeout": 3})
    assert Subscription(patient, call).next_call().options.get("_request_timeout") == 3


def test_waits_grow_are_jittered_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    waits = [Backoff(jitter=lambda: 1.0).seconds(failures) for failures in range(1, 11)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]
    assert Backoff(jitter=lambda: 0.0).seconds(3) == 0.2
    assert Backoff().seconds(1, at_least=2.5) == 2.5


def test_a_server_may_ask_for_a_longer_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(Backoff, "seconds", lambda self, failures, at_least: asked.append(at_least) or 0.0)

    def call(run_id: str) -> Call[str]:
        return Call("GET", "/runs/{run_id}/stream", str, {}, ids={"run_id": run_id})

    subscription = Subscription(call("r"), call, run_id="r")
    subscription.opened({})
    list(subscription.feed(b"retry: 1500\n\n"))
    subscription.ended()
    busy = ApiException(503)
    busy.headers = {"retry-after": "7"}
    subscription.lost(busy)
    busy.headers = {"retry-after": "100000"}
    subscription.lost(busy)
    assert asked == [1.5, 7.0, 60.0]


def test_more_streams_than_the_pool_keeps_can_be_open_at_once() -> None:
    with serving(*[Scene(event(1), hold=True)] * 5, Scene(event(1) + END)) as server:
        configuration = ap_client.Configuration(server.url)
        configuration.connection_pool_maxsize = 1
        api = ap_client.BackgroundRunsApi(ap_client.ApiClient(configuration))
        held = [api.stream_run_events(RUN_ID, _request_timeout=5) for _ in range(5)]
        assert len(list(api.stream_run_events(RUN_ID, _request_timeout=5))) == 2
        for events in held:
            events.close()
