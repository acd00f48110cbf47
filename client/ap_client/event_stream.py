"""The sync shell of a subscription."""

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ap_client.call import Call, read_answer
from ap_client.exceptions import ApiException
from ap_client.rest import RESTResponse
from ap_client.sse import ServerEvent
from ap_client.subscription import Subscription

if TYPE_CHECKING:
    from ap_client.api_client import ApiClient


class EventStream(Iterator[ServerEvent]):
    """A run's events, one by one. `run_id` and `last_event_id` say where it is.

    Iterating ends with the run. Close it (or use it as a context manager) to end it early; that closes the
    connection.
    """

    def __init__(self, client: "ApiClient", subscription: Subscription) -> None:
        self._client = client
        self._subscription = subscription
        self._waiting: deque[ServerEvent] = deque()
        self._answer: RESTResponse | None = None
        self._pieces: Iterator[bytes] = iter(())
        subscription.begin(client.configuration)
        while self._answer is None:
            try:
                self._open(subscription.next_call())
            except ApiException as error:
                time.sleep(subscription.lost(error))

    @property
    def run_id(self) -> str | None:
        """The run's id; None as long as the server has not said it."""
        return self._subscription.run_id

    @property
    def last_event_id(self) -> str | None:
        """The id to go on from in a later `stream_run_events(run_id, since=...)`."""
        return self._subscription.last_event_id

    def __next__(self) -> ServerEvent:
        while not self._waiting:
            if self._subscription.finished:
                self.close()
                epilogue = self._subscription.epilogue()
                if epilogue is not None:
                    self._client.perform(epilogue)
                raise StopIteration
            self._fill()
        return self._waiting.popleft()

    def _fill(self) -> None:
        try:
            if self._answer is None:
                self._open(self._subscription.next_call())
            piece = next(self._pieces, None)
        except ApiException as error:
            self._drop()
            time.sleep(self._subscription.lost(error))
            return
        if piece is not None:
            self._waiting.extend(self._subscription.feed(piece))
            if self._subscription.finished:
                self._drop()
            return
        self._drop()
        seconds = self._subscription.ended()
        if seconds is not None:
            time.sleep(seconds)

    def _open(self, call: Call[str]) -> None:
        answer = self._client.open(call)
        if not 200 <= answer.status <= 299:
            with answer:
                read_answer(call, answer.status, answer.reason, answer.headers, answer.data, answer)
        self._answer, self._pieces = answer, answer.stream()
        self._subscription.opened(answer.headers)

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer, self._pieces = None, iter(())

    def close(self) -> None:
        """End it and close the connection. The run goes on, unless its wish said `on_disconnect="cancel"`."""
        self._subscription.finished = True
        self._waiting.clear()
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A `for` loop that was left early holds no other reference.
        if getattr(self, "_answer", None) is not None:
            self.close()
