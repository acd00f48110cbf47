"""Sending a call until it is answered: again after failures that pass, and for as long as a run takes.

No input and output in here: these are flows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from ap_client.api_response import ApiResponse
from ap_client.call import RUN_IN_PATH, Call, keyed, with_options
from ap_client.configuration import Configuration
from ap_client.exceptions import ApiException, NotFoundException, TransportException
from ap_client.flow import Flow, Pause, exchange, now
from ap_client.retry import UNAVAILABLE, asked_seconds, may_repeat

R = TypeVar("R")

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""A server that waits sends something now and then; after this time without, the connection is taken for dead."""


def sending(call: Call[R], configuration: Configuration) -> Flow[ApiResponse[R]]:
    """Send a call, again after a failure that may pass, as often as `configuration.retries` says.

    Raises the ApiException of the last try.
    """
    if call.waits:
        return (yield from waiting(call, configuration))
    retries = configuration.retries_at_most
    if retries and call.creates:
        call = keyed(call)
    failures, unsure = 0, False
    while True:
        try:
            return (yield from exchange(call))
        except NotFoundException as error:
            if not (unsure and call.method == "DELETE"):
                raise
            # The try that was cut off has deleted it.
            return ApiResponse(error.status or 404, error.headers, cast("R", None), b"")
        except ApiException as error:
            failures += 1
            if failures > retries or _is_limit_of_caller(call, error) or not may_repeat(error, call.repeatable):
                raise
            unsure = unsure or not (isinstance(error, TransportException) and error.unsent)
            seconds = configuration.backoff.seconds(failures, asked_seconds(error.headers) or 0.0)
        yield Pause(seconds)


def waiting(
    call: Call[R], configuration: Configuration, *, seconds: float | None = None, known: bool = False
) -> Flow[ApiResponse[R]]:
    """Send a call that is answered when a run has ended, again until it is.

    Before the server has answered at all it is tried as often as any call; after that (or where the run is `known` to
    exist) for as long as it takes, or until `seconds` (or the number of `_request_timeout`) are over.

    Raises TransportException with `timed_out` then; ApiException for an answer that no other try changes.
    """
    limit = call.options.get("_request_timeout")
    if seconds is None and isinstance(limit, int | float):
        seconds = float(limit)
    retries = configuration.retries_at_most
    if retries and call.creates:
        call = keyed(call)
    until = None if seconds is None else (yield from now()) + seconds
    failures = 0
    while True:
        asked_at = yield from now()
        left = None if until is None else max(until - asked_at, 0.001)
        try:
            return (yield from exchange(_within(call, left), left))
        except ApiException as error:
            failed_at = yield from now()
            over = until is not None and failed_at >= until
            if not retries or over or _is_limit_of_caller(call, error) or not _may_wait_on(call, error):
                raise
            begun = error.status in (0, 200) and error.headers is not None
            # A connection that held for a while and was cut off then is no failure to get through.
            failures = 1 if begun and failed_at - asked_at > configuration.backoff.limit else failures + 1
            known = known or begun
            if failures > retries and not known:
                raise
            call = _gone_on(call, error.headers)
            pause = configuration.backoff.seconds(failures, asked_seconds(error.headers) or 0.0)
            if until is not None:
                pause = min(pause, until - failed_at)
        yield Pause(pause)


def _may_wait_on(call: Call[Any], error: ApiException) -> bool:
    if error.status == 200:
        # Newlines that keep the connection alive, and then a clean end without the answer.
        return isinstance(error.body, str) and not error.body.strip()
    return may_repeat(error, call.repeatable) or (call.repeatable and error.status in UNAVAILABLE)


def _gone_on(call: Call[R], headers: Mapping[str, str] | None) -> Call[R]:
    """What to ask next: of a run that the server has named, its end; otherwise the same again."""
    named = RUN_IN_PATH.search(next((v for k, v in (headers or {}).items() if k.lower() == "content-location"), ""))
    if not call.creates or named is None:
        return call
    path, ids = "/runs/{run_id}/wait", {"run_id": named[1]}
    return replace(call, method="GET", path=path, ids=ids, body=None, creates=False)


def _within(call: Call[R], left: float | None) -> Call[R]:
    given = call.options.get("_request_timeout")
    if isinstance(given, tuple):
        return call
    longest = SILENCE_SECONDS if left is None else min(left, SILENCE_SECONDS)
    return with_options(call, _request_timeout=(min(CONNECT_SECONDS, longest), longest))


def _is_limit_of_caller(call: Call[Any], error: ApiException) -> bool:
    """Whether the time is up that the caller gave to the request. Of a wait, a number is the time of the whole."""
    given = call.options.get("_request_timeout")
    if call.waits and not isinstance(given, tuple):
        return False
    return given is not None and isinstance(error, TransportException) and error.timed_out
