"""The event streams of runs, followed over as many connections as it takes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from ap_client.call import Call, Id, RequestOptions
from ap_client.models.run_create import RunCreate
from ap_client.operations.runs import wish_of
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
    comes from now on. `modes`: the events to yield, of values, updates, messages, custom (if not given, those
    that the run was created with); `metadata`, `error` and `end` always come. With `reconnect` a broken
    connection is resumed after the last event seen, without gap or duplicate, with growing waits; it gives up
    after ten tries without any event. Without it the iteration stops where the connection does.

    The first request is sent at once. Close the iterator, or use it as a context manager, to end it early.

    Raises NotFoundException when there is no such run, TransportException when it gives up.
    """
    chosen = _modes(modes)
    follow = _follow(options, since, chosen)
    return Subscription(follow(str(run_id)), follow, run_id=str(run_id), modes=chosen, reconnect=reconnect)


def create_and_stream_run_events(
    run_create: RunCreate | Mapping[str, Any] | None = None,
    run_stream: RunCreate | Mapping[str, Any] | None = None,
    *,
    modes: Iterable[str] | str | None = None,
    reconnect: bool = True,
    **options: Unpack[RequestOptions],
) -> Subscription:
    """Create a run; its events, one by one, until it has ended. See `stream_run_events`.

    `modes` becomes the wish's `stream_mode`, unless it says one itself. With `reconnect` the wish says
    `on_disconnect="continue"`, unless it says something else itself: a broken connection must not cancel the
    run. The creation may be sent again, too: its `Idempotency-Key` has it done once.
    """
    wish = wish_of(run_create, run_stream)
    chosen = _modes(modes)
    if chosen and wish.stream_mode is None:
        wish = wish.but(stream_mode=list(chosen))
    if reconnect and wish.on_disconnect is None:
        wish = wish.but(on_disconnect="continue")
    first = Call("POST", "/runs/stream", str, options, body=wish, accept=EVENTS, creates=True)
    # Once it is created the run knows its modes itself.
    return Subscription(first, _follow(options, 0, None), modes=chosen, reconnect=reconnect)


def _follow(
    options: RequestOptions, since: int | str | None, modes: tuple[str, ...] | None
) -> Callable[[str], Call[str]]:
    query = {"since": since, "stream_mode": modes}

    def call(run_id: str) -> Call[str]:
        path, ids = "/runs/{run_id}/stream", {"run_id": run_id}
        return Call("GET", path, str, options, ids=ids, query=query, accept=EVENTS)

    return call


def _modes(modes: Iterable[str] | str | None) -> tuple[str, ...] | None:
    if modes is None:
        return None
    return (modes,) if isinstance(modes, str) else tuple(dict.fromkeys(modes))
