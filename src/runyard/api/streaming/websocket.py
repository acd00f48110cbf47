"""The streaming protocol over a WebSocket: commands in, responses and events out, in one order.

One task does one thing after the other: a command with its response, a subscription's replay, the events that were just
committed. So the response to a subscription comes before its replay, and no event overtakes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from runyard.api.auth import Principal
from runyard.api.call import ClientGone
from runyard.api.context import ApiContext
from runyard.api.socket import RESTART, TOO_SLOW, Socket, framed
from runyard.api.streaming import commands, requests
from runyard.api.streaming.commands import Commands
from runyard.api.streaming.detached import Subscription
from runyard.api.streaming.feed import Feed
from runyard.errors import InvalidInput, NotFound, RunyardError
from runyard.events import Event
from runyard.protocol.filters import Filter
from runyard.protocol.frames import Cursor, Face, Frame
from runyard.readers import ThreadReader

MOST_SUBSCRIPTIONS = 100
"""Subscriptions that one connection may have at once."""
COUNTED = 2000
"""Frames of a replay that are held to be counted."""

Result = dict[str, Any]
CommandsOf = Callable[[ApiContext, Principal, str], Commands]
"""The commands of a face, on one thread for one caller."""


async def converse(socket: Socket) -> None:
    """Speaks the protocol in camelCase until one side closes."""
    await speak(socket, Face("camel"))


async def speak(socket: Socket, face: Face, commands_of: CommandsOf = Commands) -> None:
    """Speaks the protocol until one side closes."""
    thread_id = socket.uuid("thread_id")
    reader = await socket.api.streams.join_thread(socket.principal.owner, thread_id)
    try:
        await socket.accept()
        await Conversation(socket, face, thread_id, reader, commands_of).go_on()
    finally:
        reader.close()


class Conversation:
    """One connection: its subscriptions, and how far it has been told."""

    def __init__(
        self, socket: Socket, face: Face, thread_id: str, reader: ThreadReader, commands_of: CommandsOf
    ) -> None:
        self._socket = socket
        self._face = face
        self._owner = socket.principal.owner
        self._thread_id = thread_id
        self._reader = reader
        self._feed = Feed(socket.api, face, self._owner, thread_id)
        self._commands_of = commands_of
        self._commands = commands_of(socket.api, socket.principal, thread_id)
        self._pack = _framed if socket.takes_frames else _texts
        self._subscriptions: dict[str, Subscription] = {}
        self._wanted: tuple[Filter, ...] = ()
        self._covered: tuple[int, ...] = ()
        """What they want, and what their replays covered."""
        self._seen = reader.mark
        """The number of the last event that was taken from the reader."""

    async def go_on(self) -> None:
        """Until one side closes; keeps the subscriptions for a client that comes back."""
        asked = self._ask()
        try:
            while True:
                events = self._reader.take()
                if events:
                    await self._tell(events)
                elif self._reader.over:
                    await self._end()
                    return
                if asked.done():
                    document, fault = _received(asked)
                    asked = self._ask()
                    await self._answer(document, fault)
                elif not events:
                    await self._reader.change()
                del events  # they would be held until the next ones come
        except ClientGone:
            pass
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            for subscription in self._subscriptions.values():
                subscription.seen = self._seen
            self._socket.api.detached.keep(self._owner, self._thread_id, self._subscriptions)

    def _ask(self) -> asyncio.Task[Result]:
        """Waits for what the client sends next."""
        asked = asyncio.ensure_future(self._socket.receive())
        asked.add_done_callback(self._heard)
        return asked

    def _heard(self, _: asyncio.Task[Result]) -> None:
        self._reader.rouse()

    async def _end(self) -> None:
        if self._reader.cut:
            await self._socket.close(TOO_SLOW, "too slow and cut: come back with the last eventId")
        else:
            await self._socket.close(RESTART, "draining: come back with the last eventId")

    async def _tell(self, events: list[Event]) -> None:
        if self._wanted:
            pieces = await self._feed.pieces(events, self._wanted, self._covered, self._pack)
            await self._socket.send_packed(pieces)
        self._seen = events[-1].seq

    async def _send(self, frames: list[Frame]) -> None:
        await self._socket.send_packed(self._pack(frames))

    # commands

    async def _answer(self, document: Result | None, fault: InvalidInput | None) -> None:
        id: int | None = None
        try:
            if document is None:
                assert fault is not None  # one of the two is there
                raise fault
            command = requests.command(document)
            id = command.id
            if self._socket.api.guard is not None:
                self._commands = self._commands_of(self._socket.api.renewed(), self._socket.principal, self._thread_id)
            match command.method:
                case "subscription.subscribe":
                    await self._subscribe(command)
                case "subscription.unsubscribe":
                    await self._unsubscribe(command)
                case "subscription.reconnect":
                    await self._reconnect(command)
                case _:
                    await self._socket.send(await self._commands.respond(command, self._face.case))
        except RunyardError as error:
            await self._socket.send(commands.refusal(id, error))

    async def _respond(self, command: requests.Command, result: Result, unknown: list[str]) -> None:
        await self._socket.send(commands.success(command, result, self._face.case, self._seen, unknown))

    def _check_room(self, more: int) -> None:
        if len(self._subscriptions) + more > MOST_SUBSCRIPTIONS:
            raise InvalidInput(
                f"this connection has {len(self._subscriptions)} subscriptions; allowed: {MOST_SUBSCRIPTIONS}",
                field="method",
            )

    async def _subscribe(self, command: requests.Command) -> None:
        self._check_room(1)
        wish = requests.subscription(command.params)
        subscription = Subscription(self._socket.api.filters.shared(wish.wanted), self._seen)
        id = self._socket.api.verbs.clock.new_id()
        await self._begin(command, {"subscriptionId": id}, {id: subscription}, wish.after, wish.unknown, count=True)

    async def _begin(
        self,
        command: requests.Command,
        result: Result,
        subscriptions: dict[str, Subscription],
        after: Cursor | None,
        unknown: list[str],
        *,
        count: bool,
    ) -> None:
        """The response, then what the subscriptions have missed; what is told from now on they see live.

        The response says how many events are replayed where they are few: it comes before them, and many are not held.
        """
        wanted = [subscription.wanted for subscription in subscriptions.values()]
        replay = self._feed.replay(wanted, after, self._seen)
        first: list[Frame] = []
        over = True
        async for frames in replay:
            first += frames
            if len(first) > COUNTED:
                over = False
                break
        if over and count:
            result["replayedEvents"] = len(first)
        await self._respond(command, result, unknown)
        await self._send(first)
        del first
        if not over:
            async for frames in replay:
                await self._send(frames)
        for subscription in subscriptions.values():
            subscription.covered = self._feed.covered
        self._subscriptions.update(subscriptions)
        self._listen()

    async def _unsubscribe(self, command: requests.Command) -> None:
        id = command.params.get("subscriptionId")
        if type(id) is not str or self._subscriptions.pop(id, None) is None:
            raise NotFound(
                f"subscriptionId is {str(id)[:60]!r}: this connection has no such subscription",
                code="subscription_not_found",
                field="subscriptionId",
            )
        self._listen()
        unknown = [name for name in command.params if name != "subscriptionId"]
        await self._respond(command, {}, unknown)

    async def _reconnect(self, command: requests.Command) -> None:
        asked = requests.reconnection(command.params)
        self._check_room(len(asked.subscriptions))
        _, root = await self._commands.steering.tree(self._owner, self._thread_id, asked.run_id)
        kept = self._socket.api.detached.take(self._owner, self._thread_id, asked.subscriptions)
        restored = bool(kept) and len(kept) == len(asked.subscriptions)
        result: Result = {
            "restored": restored,
            "currentNamespaces": [{"namespace": node.namespace, "status": node.status} for node in root.walk()],
        }
        after = asked.after or Cursor(min((one.seen for one in kept.values()), default=self._seen))
        gone = await self._socket.api.storage.floor_seq(self._owner, self._thread_id) - after.after
        if gone > 0:
            result["missedEvents"] = gone
        await self._begin(command, result, kept, after, asked.unknown, count=False)

    def _listen(self) -> None:
        self._wanted = tuple(one.wanted for one in self._subscriptions.values())
        self._covered = tuple(one.covered for one in self._subscriptions.values())
        self._reader.channels = frozenset[str]().union(*(wanted.channels for wanted in self._wanted))


def _framed(frames: Sequence[Frame]) -> Sequence[bytes]:
    return framed(frame.text for frame in frames)


def _texts(frames: Sequence[Frame]) -> Sequence[bytes]:
    return [frame.text for frame in frames]


def _received(asked: asyncio.Future[Result]) -> tuple[Result | None, InvalidInput | None]:
    """A message of the client, or what is wrong with it."""
    try:
        return asked.result(), None
    except InvalidInput as fault:
        return None, fault
