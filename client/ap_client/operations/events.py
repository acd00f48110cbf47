"""The event streams of runs, followed over as many connections as it takes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from ap_client.call import Call, Id, RequestOptions
from ap_client.models.run_create import RunCreate
from ap_client.operations.runs import create_and_stream_run
from ap_client.subscription import Subscription

EVENTS = "text/event-stream"


def stream_run_events(
    run_id: Id,
    *,
    since: int | str | None = 0,
    modes: Iterable[str] | str | None = None,
    reconnect: bool = True,
    **options: Unpack[RequestOptions],
) -> Subscription:
    """The events of a run, one by one, until it has ended.

    `since`: an event id; events after it are replayed, then it goes on. 0 is the run's start, None only what
    comes from now on. `modes`: the events to yield, of values, updates, messages, custom (all, if not given);
    `metadata`, `error` and `end` always come. With `reconnect` a broken connection is resumed after the last
    event seen, without gap or duplicate, with growing waits; it gives up after ten tries without any event.
    Without it the iteration stops where the connection does.

    The first request is sent at once. Close the iterator, or use it as a context manager, to end it early.

    Raises NotFoundException when there is no such run, TransportException when it gives up.
    """
    follow = _follow(options, since)
    return Subscription(follow(str(run_id)), follow, run_id=str(run_id), modes=_modes(modes), reconnect=reconnect)


def create_and_stream_run_events(
    run_create: RunCreate | Mapping[str, Any] | None = None,
    run_stream: RunCreate | Mapping[str, Any] | None = None,
    *,
    modes: Iterable[str] | str | None = None,
    reconnect: bool = True,
    **options: Unpack[RequestOptions],
) -> Subscription:
    """Create a run; its events, one by one, until it has ended. See `stream_run_events`.

    With `reconnect` the wish says `on_disconnect="continue"` unless it says something else itself: a broken
    connection must not cancel the run. The creation itself is sent once: an `Idempotency-Key` in `_headers`
    lets you repeat it.
    """
    call = create_and_stream_run(run_create, run_stream, **options)
    body = call.body
    if reconnect and isinstance(body, RunCreate) and body.on_disconnect is None:
        body = body.but(on_disconnect="continue")
    first = Call(call.method, call.path, str, call.options, body=body, accept=EVENTS)
    return Subscription(first, _follow(options, 0), modes=_modes(modes), reconnect=reconnect)


def _follow(options: RequestOptions, since: int | str | None) -> Callable[[str], Call[str]]:
    def call(run_id: str) -> Call[str]:
        path, query = "/runs/{run_id}/stream", {"since": since}
        return Call("GET", path, str, options, ids={"run_id": run_id}, query=query, accept=EVENTS)

    return call


def _modes(modes: Iterable[str] | str | None) -> frozenset[str] | None:
    if modes is None:
        return None
    return frozenset([modes] if isinstance(modes, str) else modes)
