"""Following a run's events over as many connections as it takes. No input and output in here.

A shell asks `next_call` what to send, tells `opened` and `feed` what came, and `lost` when the connection
broke; `lost` says how long to wait before the next call, or raises when it is time to give up.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from ap_client.call import RUN_IN_PATH, Call, keyed
from ap_client.configuration import Configuration
from ap_client.exceptions import ApiException
from ap_client.retry import LONGEST_ASKED_SECONDS, Backoff, asked_seconds, may_repeat
from ap_client.sse import EventParser, ServerEvent

ALWAYS = frozenset({"metadata", "error", "end"})
"""Events about the run itself: no choice of modes hides them."""

SILENCE_SECONDS = 60.0
"""A server sends at least a heartbeat within this time; if not, the connection is taken for dead."""


class Subscription:
    """What has to be remembered between connections."""

    def __init__(
        self,
        first: Call[str],
        follow: Callable[[str], Call[str]],
        *,
        run_id: str | None = None,
        modes: Collection[str] | None = None,
        reconnect: bool = True,
        backoff: Backoff | None = None,
    ) -> None:
        self.run_id = run_id
        self.finished = False
        self.last_event_id: str | None = None
        self._call = first
        self._follow = follow
        self._modes = modes
        self._reconnect = reconnect
        self._backoff = backoff or Backoff()
        self._retries = self._backoff.tries
        self._observe: Callable[[ServerEvent], None] | None = None
        self._epilogue: Callable[[], Generator[Any, Any, None]] | None = None
        self._ended = False
        self._opened = False
        self._parser = EventParser()
        self._failures = 0

    def begin(self, configuration: Configuration) -> None:
        """Told once, before the first call: until a stream is open, it is tried as often as any other call."""
        self._retries = configuration.retries_at_most
        if self._retries and self._reconnect and self._call.creates:
            self._call = keyed(self._call)

    def watched_by(
        self, observe: Callable[[ServerEvent], None], epilogue: Callable[[], Generator[Any, Any, None]]
    ) -> None:
        """Have `observe` told every event before it is yielded, and the flow performed when the end has been."""
        self._observe, self._epilogue = observe, epilogue

    def epilogue(self) -> Generator[Any, Any, None] | None:
        """The flow to perform now that the iteration is over; given once, and only where the run has ended."""
        made, self._epilogue = self._epilogue, None
        return made() if made is not None and self._ended else None

    def next_call(self) -> Call[str]:
        """What to send now; after a loss it asks for what comes after the last event seen."""
        options = cast("dict[str, Any]", dict(self._call.options))
        query = dict(self._call.query)
        if options.get("_request_timeout") is None:
            options["_request_timeout"] = (10.0, SILENCE_SECONDS)
        if self.last_event_id is not None:
            options["_headers"] = {**(options.get("_headers") or {}), "Last-Event-ID": self.last_event_id}
            # One's own cursor is better than the one that the first call had.
            query.pop("since", None)
        return replace(self._call, options=cast("Any", options), query=query)

    def opened(self, headers: Mapping[str, str]) -> None:
        """The headers are here: a new stream begins, perhaps with the run's address."""
        self._parser = EventParser()
        if not self._opened:
            self._opened, self._failures = True, 0
        found = RUN_IN_PATH.search(headers.get("content-location") or headers.get("location") or "")
        if self.run_id is None and found:
            self.run_id = found[1]

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that a piece of the stream completes; those of other modes than asked for left out."""
        for event in self._parser.feed(piece):
            self._failures = 0
            self.last_event_id = event.id or self.last_event_id
            if event.event == "metadata" and self.run_id is None:
                self.run_id = _get(event.data, "run_id")
            if event.event == "end" and _get(event.data, "status") not in ("pending", "running"):
                # A server that shuts down may end a stream whose run goes on.
                self.finished = self._ended = True
            if self._wanted(event.event):
                if self._observe is not None:
                    self._observe(event)
                yield event
            if self.finished:
                return

    def _wanted(self, name: str) -> bool:
        # `messages/partial` and `updates|child` belong to their mode.
        return self._modes is None or name in ALWAYS or re.split(r"[/|]", name, maxsplit=1)[0] in self._modes

    def ended(self) -> float | None:
        """The stream is over without an `end`: seconds to wait, or None when that is all there is."""
        if self.finished or not self._reconnect:
            self.finished = True
            return None
        return self.lost(ApiException(0, "the stream ended before the run did"))

    def lost(self, error: ApiException) -> float:
        """The connection failed: seconds to wait before the next call. Raises the error when it is final."""
        self._failures += 1
        hopeless = self._failures > (self._backoff.tries if self._opened else self._retries)
        if not self._reconnect or hopeless or not may_repeat(error, self._call.repeatable):
            self.finished = True
            raise error
        if self.run_id is not None:
            self._call = self._follow(self.run_id)
        asked = asked_seconds(error.headers) or min(self._parser.retry_seconds or 0.0, LONGEST_ASKED_SECONDS)
        return self._backoff.seconds(self._failures, at_least=asked)


def _get(data: object, key: str) -> Any:
    return cast("Mapping[str, Any]", data).get(key) if isinstance(data, Mapping) else None
