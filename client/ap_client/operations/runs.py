"""Runs whose output is consumed by whoever creates them."""

from collections.abc import Mapping
from typing import Any, Unpack

from ap_client.call import ANY_STREAM, Call, RequestOptions, body_of
from ap_client.exceptions import ApiTypeError
from ap_client.models.run_create import RunCreate
from ap_client.models.run_wait_response import RunWaitResponse


def wish_of(
    run_create: RunCreate | Mapping[str, Any] | None, run_stream: RunCreate | Mapping[str, Any] | None
) -> RunCreate:
    """The wish for a run under whichever of its two names it was given.

    Raises ApiTypeError when it was given under both, or under none.
    """
    if run_create is not None and run_stream is not None:
        raise ApiTypeError("run_create and run_stream are two names of one argument: give one of them")
    if run_stream is not None:
        return body_of(RunCreate, run_stream, "run_stream")
    return body_of(RunCreate, run_create, "run_create")


def create_and_stream_run(
    run_create: RunCreate | Mapping[str, Any] | None = None,
    run_stream: RunCreate | Mapping[str, Any] | None = None,
    **options: Unpack[RequestOptions],
) -> Call[str]:
    """Create a run; the whole text of its event stream, once the run has ended.

    `create_and_stream_run_events` gives the events one by one, as they happen.
    """
    wish = wish_of(run_create, run_stream)
    return Call("POST", "/runs/stream", str, options, body=wish, accept=ANY_STREAM, creates=True)


def create_and_wait_run(
    run_create: RunCreate | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[RunWaitResponse]:
    """Create a run and wait until it has ended; its final output.

    A connection that breaks does not end the wait, as with `wait_run`, and never creates a second run.
    """
    body = body_of(RunCreate, run_create, "run_create")
    return Call("POST", "/runs/wait", RunWaitResponse, options, body=body, creates=True, waits=True)
