"""Runs that go on without anybody waiting: create, watch, wait, cancel, list, delete."""

from collections.abc import Mapping
from typing import Any, Unpack

from ap_client.call import ANY_STREAM, Call, Id, RequestOptions, body_of
from ap_client.models.run import Run
from ap_client.models.run_create import RunCreate
from ap_client.models.run_search_request import RunSearchRequest
from ap_client.models.run_wait_response import RunWaitResponse
from ap_client.operations.runs import wish_of


def create_run(
    run_create: RunCreate | Mapping[str, Any] | None = None,
    run_stream: RunCreate | Mapping[str, Any] | None = None,
    **options: Unpack[RequestOptions],
) -> Call[Run]:
    """Create a run and return at once. The wish goes by either name.

    Raises ConflictException when the thread is busy and the wish says to reject then.
    """
    return Call("POST", "/runs", Run, options, body=wish_of(run_create, run_stream), creates=True)


def get_run(run_id: Id, **options: Unpack[RequestOptions]) -> Call[Run]:
    """A run as it stands. Raises NotFoundException when there is none of that id."""
    return Call("GET", "/runs/{run_id}", Run, options, ids={"run_id": run_id})


def wait_run(run_id: Id, **options: Unpack[RequestOptions]) -> Call[RunWaitResponse]:
    """Wait until the run has ended; its final output. A failed run is an answer too, with `error`.

    A connection that breaks, and a server that is away for a while, do not end the wait: it is asked again. A number
    as `_request_timeout` is how long to wait in all, in seconds.

    Raises TransportException when that time is over, NotFoundException when there is no such run.
    """
    return Call("GET", "/runs/{run_id}/wait", RunWaitResponse, options, ids={"run_id": run_id}, waits=True)


def stream_run(run_id: Id, **options: Unpack[RequestOptions]) -> Call[object]:
    """The whole text of the run's event stream from now on, once the run has ended.

    `stream_run_events` gives the events one by one, as they happen.
    """
    # What is streamed from now on is less than what was streamed from then on.
    path, ids = "/runs/{run_id}/stream", {"run_id": run_id}
    return Call("GET", path, object, options, ids=ids, accept=ANY_STREAM, idempotent=False)


def cancel_run(
    run_id: Id, wait: bool | None = None, action: str | None = None, **options: Unpack[RequestOptions]
) -> Call[None]:
    """Cancel a run; with `wait` return when its code has stopped.

    `action`: `interrupt` (the server's default) keeps what the run did; `rollback` deletes the run and its
    checkpoints.
    """
    query = {"wait": wait, "action": action}
    # To roll back what is rolled back already is refused.
    path, ids, again = "/runs/{run_id}/cancel", {"run_id": run_id}, action != "rollback"
    return Call("POST", path, type(None), options, ids=ids, query=query, idempotent=again)


def delete_run(run_id: Id, **options: Unpack[RequestOptions]) -> Call[None]:
    """Delete the record of an ended run. Raises ConflictException when it has not ended."""
    return Call("DELETE", "/runs/{run_id}", type(None), options, ids={"run_id": run_id})


def search_thread_runs(
    thread_id: Id, limit: int | None = None, offset: int | None = None, **options: Unpack[RequestOptions]
) -> Call[list[Run]]:
    """The runs of a thread, newest first. The server's `limit` is 10 unless given."""
    query = {"limit": limit, "offset": offset}
    return Call("GET", "/threads/{thread_id}/runs", list[Run], options, ids={"thread_id": thread_id}, query=query)


def search_runs(
    run_search_request: RunSearchRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[list[Run]]:
    """The runs that match, newest first."""
    body = body_of(RunSearchRequest, run_search_request, "run_search_request")
    return Call("POST", "/runs/search", list[Run], options, body=body, idempotent=True)
