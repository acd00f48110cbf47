"""A watched thread over SSE: event streams by POST, commands by POST."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from ap_client.aio.client import ApiClient, RESTResponse
from ap_client.aio.news import News
from ap_client.call import read_answer
from ap_client.exceptions import ApiException
from ap_client.inbox import Inbox
from ap_client.legs import Leg, Legs
from ap_client.retry import Persistence
from ap_client.sse import EventParser
from ap_client.steering import Command, result_of
from ap_client.watch import Watch


class SseTransport:
    """The connections under one stream."""

    def __init__(self, client: ApiClient, watch: Watch, news: News) -> None:
        self._client = client
        self._watch = watch
        self._news = news
        self._legs = Legs(watch)
        self._tasks: dict[Leg, asyncio.Task[None]] = {}
        self._opened: dict[Leg, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)

    async def attach(self) -> None:
        """Have what is pending told from now on. Raises ApiException when no stream can be had."""
        for leg in self._legs.fresh():
            self._opened[leg] = asyncio.get_running_loop().create_future()
            self._tasks[leg] = asyncio.create_task(self._kept(leg))
        for opened in list(self._opened.values()):
            await asyncio.shield(opened)

    async def detach(self, inbox: Inbox[Any]) -> None:
        """A subscription is over. The stream stays as it is until another takes its place."""

    async def command(self, command: Command) -> Mapping[str, Any]:
        """Send a command: its result. Raises CommandError when it is refused, ApiException when it fails."""
        answer = await self._client.send(command.call(self._watch.thread_id, next(self._numbers)))
        return result_of(answer.data)

    async def close(self) -> None:
        """Close the connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _kept(self, leg: Leg) -> None:
        """A stream, until it is retired, taken over, or cannot be had."""
        configuration = self._client.configuration
        persistence = Persistence(configuration.backoff, configuration.retries_at_most)
        clock = asyncio.get_running_loop().time
        try:
            while leg in self._legs.legs:
                began, asked = clock(), 0.0
                try:
                    asked = await self._once(leg, persistence)
                    failure = ApiException(0, "the server has ended the stream")
                except ApiException as error:
                    failure = error
                if leg in self._legs.legs:
                    await asyncio.sleep(persistence.lost(failure, clock() - began, asked))
        except Exception as error:
            # Whatever it is, those who wait must not wait for ever.
            self._legs.failed(leg, error)
            self._settle(leg, error)
        finally:
            self._settle(leg)
            self._tasks.pop(leg, None)

    async def _once(self, leg: Leg, persistence: Persistence) -> float:
        """One connection of a stream, to its end: how many seconds the server asks to stay away."""
        call = self._legs.request(leg)
        async with await self._client.open(call) as answer:
            if not 200 <= answer.status <= 299:
                content = await answer.read()
                read_answer(call, answer.status, answer.reason, answer.headers, content, answer)
            self._retire(self._legs.opened(leg))
            self._settle(leg)
            return await self._read(leg, answer, persistence)

    async def _read(self, leg: Leg, answer: RESTResponse, persistence: Persistence) -> float:
        parser = EventParser()
        async for piece in answer.stream():
            for event in parser.feed(piece):
                persistence.progressed()
                self._retire(self._legs.told(leg, event.data))
                if leg not in self._legs.legs:
                    return 0.0
                if self._news.crowded:
                    await self._news.room()
        return parser.retry_seconds or 0.0

    def _retire(self, retired: list[Leg]) -> None:
        for leg in retired:
            task = self._tasks.get(leg)
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def _settle(self, leg: Leg, error: Exception | None = None) -> None:
        """Whoever waits for the stream to be there goes on."""
        opened = self._opened.pop(leg, None)
        if opened is None or opened.done():
            return
        if error is None:
            opened.set_result(None)
        else:
            opened.set_exception(error)
            # Nobody may be waiting.
            opened.exception()
