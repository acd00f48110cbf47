"""The operations of the streaming protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from runyard.api import answers, sse
from runyard.api.call import Call
from runyard.api.operation import operation
from runyard.api.problems import Refused
from runyard.api.streaming import commands, requests, websocket
from runyard.api.streaming.commands import Commands
from runyard.api.streaming.feed import Feed
from runyard.api.streaming.websocket import CommandsOf
from runyard.errors import InvalidInput, NotFound, RunyardError
from runyard.protocol.filters import Filter
from runyard.protocol.frames import Cursor, Face, Frame

FACE = Face("camel")
"""How the protocol is spelled under `/`."""


@operation(
    "Streaming",
    needs="read",
    body=requests.SHAPE,
    answer=answers.ThreadStreamEvent,
    media="text/event-stream",
    headers=("Last-Event-ID",),
)
async def open_thread_sse_stream(call: Call) -> None:
    """Stream Thread Events

    Streams what happens on a thread, as server-sent events whose data are frames of the streaming protocol. It goes on
    when a run ends, and may be opened before the thread is there. Without a cursor it begins with the state now, and
    what the newest run has told.
    """
    await tell_events(call, FACE)


async def tell_events(call: Call, face: Face) -> None:
    """Streams what happens on the thread that the path names."""
    thread_id = call.uuid("thread_id")
    wanted, after = await _asked(call)
    reader = await call.api.streams.join_thread(call.owner, thread_id)
    reader.channels = wanted[0].channels
    feed = Feed(call.api, face, call.owner, thread_id)
    connection = sse.Connection(call)
    watch = asyncio.ensure_future(connection.watch(reader.close))
    try:
        await call.begin(list(sse.HEADERS))
        await connection.greet()
        with call.api.pulse.joined(connection):
            async for frames in feed.replay(wanted, after, reader.mark):
                await connection.send(_pack(frames))
                del frames
                if connection.left or reader.cut:
                    break
            async for events in reader:
                await connection.send(await feed.pieces(events, wanted, (feed.covered,), _pack))
                del events  # they would be held until the next ones come
        connection.quieten()
        if not connection.left:
            await call.finish(sse.DRAINING if reader.drained else sse.CUT if reader.cut else b"")
    finally:
        reader.close()
        watch.cancel()


async def _asked(call: Call) -> tuple[tuple[Filter], Cursor | None]:
    """What is to be streamed, and from where on."""
    wish = requests.stream_request(await call.document(), call.header(b"last-event-id"))
    call.pass_over(wish.unknown)
    return (call.api.filters.shared(wish.wanted),), wish.after


def _pack(frames: Sequence[Frame]) -> list[bytes]:
    return sse.joined([frame.sse() for frame in frames])


@operation("Streaming", needs="read", errors=(422, 426), socket=websocket.converse)
async def open_thread_websocket_stream(call: Call) -> None:
    """Open Thread WebSocket

    A WebSocket over which a thread is watched and steered: commands go one way, their responses and events the other.
    """
    needs_socket(call)


def needs_socket(call: Call) -> NoReturn:
    """Refuses a request where a WebSocket has to be opened."""
    call.uuid("thread_id")
    raise Refused(
        426,
        "upgrade_required",
        "this is for a WebSocket: send `Upgrade: websocket`, or POST to it for server-sent events",
        [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")],
    )


@operation("Streaming", needs="read", body=commands.ENVELOPE, answer=commands.StreamingCommandResponse, errors=(404,))
async def send_thread_streaming_command(call: Call) -> None:
    """Send Thread Command

    Does a command of the streaming protocol: `run.start`, `input.respond`, `input.inject`, `agent.getTree`,
    `state.get`, `state.listCheckpoints`, `state.fork`. One that fails is answered with 200, too: `type` says so.
    """
    await do_command(call, FACE, Commands, malformed=422)


async def do_command(call: Call, face: Face, commands_of: CommandsOf, *, malformed: int) -> None:
    """Does the command of a request; `malformed` is the status where it is none."""
    thread_id = call.uuid("thread_id")
    try:
        command = requests.command(await call.document())
    except InvalidInput as error:
        await call.answer(commands.refusal(None, error), malformed)
        return
    try:
        if command.method.startswith("subscription."):
            raise commands.only_websocket(command.method)
        answer = await commands_of(call.api, call.principal, thread_id).respond(command, face.case)
    except NotFound as error:
        if error.reason == "thread_not_found":
            raise
        answer = commands.refusal(command.id, error)
    except RunyardError as error:
        answer = commands.refusal(command.id, error)
    await call.answer(answer)
