"""Watching a thread over a connection: what both shells of a stream do, inside an event loop."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ap_client.aio.client import ApiClient
from ap_client.aio.news import News
from ap_client.aio.sse_transport import SseTransport
from ap_client.assembly import STREAMING, MessageState
from ap_client.exceptions import ApiException, ApiValueError
from ap_client.inbox import Inbox
from ap_client.steering import Command, Steering
from ap_client.thread_events import Missed
from ap_client.watch import TRANSPORTS, Watch

A = TypeVar("A")
E = TypeVar("E")


class Transport(Protocol):
    """The connections under one stream."""

    async def attach(self) -> None:
        """Have what is pending told from now on. Raises ApiException when that cannot be had."""
        ...

    async def detach(self, inbox: Inbox[Any]) -> None:
        """A subscription is over."""
        ...

    async def command(self, command: Command) -> Mapping[str, Any]:
        """Send a command: its result. Raises CommandError when it is refused, ApiException when it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Watching:
    """A watch, with connections. It belongs to one event loop."""

    def __init__(self, client: ApiClient, watch: Watch, transport: str) -> None:
        self._watch = watch
        self._news = News(watch)
        self._attaching = asyncio.Lock()
        self._transport = _transport(transport, client, watch, self._news)

    async def perform(self, flow: Steering[A]) -> A:
        """Say what commands say, and return what comes of it."""
        if self._watch.closed:
            raise ApiValueError("the stream is closed")
        try:
            command = next(flow)
            while True:
                if not command.repeatable:
                    # What comes of it is told to those who have subscribed before.
                    await self._attach()
                command = flow.send(await self._transport.command(command))
        except StopIteration as done:
            return done.value

    def subscribed(self, made: Callable[[], Inbox[E]]) -> Inbox[E]:
        """A subscription whose readers are woken."""
        inbox = made()
        self._news.watch(inbox)
        return inbox

    async def take(self, inbox: Inbox[E]) -> list[E | Missed]:
        """What a subscription has got, once there is something; nothing when it is over. Raises what it failed with."""
        while True:
            taken = inbox.take()
            self._news.taken()
            if taken or inbox.ended:
                return taken
            await self._wait(inbox)

    async def grown(self, inbox: Inbox[MessageState], message: MessageState, taken: int) -> list[str]:
        """The pieces of a message behind those that were taken, once there are some; none when it grows no more."""
        while len(message.pieces) == taken and message.status == STREAMING:
            await self._wait(inbox)
        return message.pieces[taken:]

    async def settled(self, inbox: Inbox[MessageState], message: MessageState) -> None:
        """Wait until a message grows no more."""
        while message.status == STREAMING:
            await self._wait(inbox)

    async def drop(self, inbox: Inbox[Any]) -> None:
        """End a subscription. What it holds is dropped."""
        inbox.items.clear()
        inbox.end()
        self._news.taken()
        await self._transport.detach(inbox)

    async def close(self) -> None:
        """End all subscriptions and close the connections."""
        self._watch.end()
        self._news.taken()
        await self._transport.close()

    async def _wait(self, inbox: Inbox[Any]) -> None:
        """Until something has changed. Raises what the subscription failed with."""
        if inbox.error is not None:
            raise inbox.error
        if self._watch.pending:
            with suppress(ApiException):
                # Whose stream cannot be had is told so by the subscription itself.
                await self._attach()
        elif inbox.live:
            await self._news.of(inbox)

    async def _attach(self) -> None:
        async with self._attaching:
            await self._transport.attach()


def _transport(kind: str, client: ApiClient, watch: Watch, news: News) -> Transport:
    if kind == "sse":
        return SseTransport(client, watch, news)
    if kind != "websocket":
        raise ApiValueError(f"transport must be of {', '.join(TRANSPORTS)}, not {kind!r}", ["transport"])
    from ap_client.aio.websocket_transport import WebSocketTransport

    return WebSocketTransport(client, watch, news)
