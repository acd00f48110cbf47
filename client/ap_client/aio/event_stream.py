"""The async shell of a subscription."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ap_client.call import Call, read_answer
from ap_client.exceptions import ApiException
from ap_client.sse import ServerEvent
from ap_client.subscription import Subscription

if TYPE_CHECKING:
    from ap_client.aio.client import ApiClient, RESTResponse


class EventStream(AsyncIterator[ServerEvent]):
    """A run's events, one by one. `run_id` and `last_event_id` say where it is.

    Iterating ends with the run. Close it (or use it as an async context manager) to end it early; that closes
    the connection.
    """

    def __init__(self, client: "ApiClient", subscription: Subscription) -> None:
        self._client = client
        self._subscription = subscription
        self._waiting: deque[ServerEvent] = deque()
        self._answer: RESTResponse | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        subscription.begin(client.configuration)

    @property
    def run_id(self) -> str | None:
        """The run's id; None as long as the server has not said it."""
        return self._subscription.run_id

    @property
    def last_event_id(self) -> str | None:
        """The id to go on from in a later `stream_run_events(run_id, since=...)`."""
        return self._subscription.last_event_id

    async def __anext__(self) -> ServerEvent:
        while not self._waiting:
            if self._subscription.finished:
                await self.close()
                epilogue = self._subscription.epilogue()
                if epilogue is not None:
                    await self._client.perform(epilogue)
                raise StopAsyncIteration
            await self._fill()
        return self._waiting.popleft()

    async def _fill(self) -> None:
        try:
            if self._pieces is None:
                await self._open()
            piece = None if self._pieces is None else await anext(self._pieces, None)
        except ApiException as error:
            await self._drop()
            await asyncio.sleep(self._subscription.lost(error))
            return
        if piece is not None:
            self._waiting.extend(self._subscription.feed(piece))
            if self._subscription.finished:
                await self._drop()
            return
        await self._drop()
        seconds = self._subscription.ended()
        if seconds is not None:
            await asyncio.sleep(seconds)

    async def connect(self) -> None:
        """Open the stream, if it is not. Raises ApiException for an answer outside 2xx."""
        while self._pieces is None:
            try:
                await self._open()
            except ApiException as error:
                await asyncio.sleep(self._subscription.lost(error))

    async def _open(self) -> None:
        call: Call[str] = self._subscription.next_call()
        answer = await self._client.open(call)
        if not 200 <= answer.status <= 299:
            async with answer:
                content = await answer.read()
                read_answer(call, answer.status, answer.reason, answer.headers, content, answer)
        self._answer, self._pieces = answer, answer.stream()
        self._subscription.opened(answer.headers)

    async def _drop(self) -> None:
        if self._answer is not None:
            await self._answer.close()
        self._answer = self._pieces = None

    async def close(self) -> None:
        """End it and close the connection. The run goes on, unless its wish said `on_disconnect="cancel"`."""
        self._subscription.finished = True
        self._waiting.clear()
        await self._drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
