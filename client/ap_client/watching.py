"""Watching a thread from code that has no event loop: the connections live in one of their own."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ap_client.aio.beside import beside
from ap_client.aio.watching import Watching as AsyncWatching
from ap_client.assembly import STREAMING, MessageState
from ap_client.exceptions import ApiValueError
from ap_client.inbox import Inbox
from ap_client.loop_thread import LoopThread
from ap_client.steering import Steering
from ap_client.thread_events import Missed
from ap_client.watch import Watch

if TYPE_CHECKING:
    from ap_client.api_client import ApiClient

A = TypeVar("A")
E = TypeVar("E")


class Watching:
    """A watch, with connections, for any number of threads."""

    def __init__(self, client: "ApiClient", watch: Watch, transport: str) -> None:
        self._client = beside(client)
        self._there = AsyncWatching(self._client, watch, transport)
        self._loop = LoopThread(f"stream of thread {watch.thread_id}")

    def perform(self, flow: Steering[A]) -> A:
        """Say what commands say, and return what comes of it."""
        return self._do(self._there.perform(flow))

    def subscribed(self, made: Callable[[], Inbox[E]]) -> Inbox[E]:
        """A subscription whose readers are woken."""

        async def subscribed() -> Inbox[E]:
            return self._there.subscribed(made)

        return self._do(subscribed())

    def take(self, inbox: Inbox[E]) -> list[E | Missed]:
        """What a subscription has got, once there is something; nothing when it is over. Raises what it failed with."""
        # What is there when all is over can still be had.
        return inbox.take() if self._loop.stopped else self._do(self._there.take(inbox))

    def grown(self, inbox: Inbox[MessageState], message: MessageState, taken: int) -> list[str]:
        """The pieces of a message behind those that were taken, once there are some; none when it grows no more."""
        if message.status != STREAMING or len(message.pieces) > taken:
            return message.pieces[taken:]
        return self._do(self._there.grown(inbox, message, taken))

    def settled(self, inbox: Inbox[MessageState], message: MessageState) -> None:
        """Wait until a message grows no more."""
        if message.status == STREAMING:
            self._do(self._there.settled(inbox, message))

    def drop(self, inbox: Inbox[Any]) -> None:
        """End a subscription. What it holds is dropped."""
        if not self._loop.stopped:
            self._do(self._there.drop(inbox))

    def close(self) -> None:
        """End all subscriptions and close the connections."""

        async def closed() -> None:
            await self._there.close()
            await self._client.close()

        self._loop.stop(closed)

    def abandon(self) -> None:
        """Close the connections without waiting for it."""
        self._loop.abandon()

    def _do(self, work: Coroutine[Any, Any, A]) -> A:
        if self._loop.stopped:
            work.close()
            raise ApiValueError("the stream is closed")
        return self._loop.perform(work)
