"""Streams of whole threads in the dialect: the streaming protocol, in snake_case and LangChain's words; and the older
stream of all runs of a thread."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw

from runyard import runs
from runyard.api import answers as native
from runyard.api import sse
from runyard.api.call import Call
from runyard.api.langgraph import answers, labels, streams, wire
from runyard.api.langgraph.messages import shown_anywhere, shown_text, shown_within
from runyard.api.langgraph.streams import Teller, View
from runyard.api.langgraph.wishes import chosen
from runyard.api.operation import operation
from runyard.api.socket import Socket
from runyard.api.streaming import commands, requests, routes, websocket
from runyard.checkpoints import parse, render
from runyard.errors import InvalidInput, NotFound
from runyard.events import Event, lifecycle
from runyard.protocol.frames import Face
from runyard.protocol.told import Told
from runyard.readers import PAGE
from runyard.runs import Config, Dialect, Run
from runyard.steering import Wish

_MODES = ("run_modes", "lifecycle", "state_update")
_ABORTED = "aborted: the run was cancelled"
"""Clients that take `interrupted` for a question would wait for ever; those that show errors show none of this word."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def retold(one: Told, event: Event) -> Told | None:
    """What the protocol tells, as clients of the dialect take it. Messages that no model or agent has just written are
    not told: they are in the state, and clients would have them twice."""
    data = one.data
    if data is None:
        return one
    match one.method:
        case "messages" if event.kind == "messages" and event.told == b"[]":
            return one if _is_said(event.data) else None
        case "values":
            data = _values(data)
        case "updates" | "tools" if b'"role":' in data:
            data = _encode(_shown(one.method, _decode(data)))
        case "input.requested":
            asked = msgspec.json.decode(data, type=dict[str, Raw])
            data = _encode({**asked, "value": asked["payload"]})
        case "custom":
            data = _custom(data)
        case "lifecycle" if event.kind == "lifecycle":
            at = lifecycle(event.data)
            if not at.terminal or at.event != "interrupted" or at.outcome == "asked":
                return one
            data = _encode({"event": "failed", "error": _ABORTED})
        case _:
            return one
    return msgspec.structs.replace(one, data=data)


def _is_said(data: bytes) -> bool:
    """Whether whole messages are what a function agent says: a graph's come with the node that gave them."""
    told = cast("list[dict[str, Any]]", _decode(data))
    return all(message.get("role") == "assistant" and "node" not in message for message in told)


def _values(text: bytes) -> bytes:
    return render({name: shown_text(value) for name, value in parse(text).items()})


def _custom(data: bytes) -> bytes:
    """What was put out under a name that it has in itself is told as it is, as its clients read it; and as a payload,
    as the protocol has it."""
    told = cast("dict[str, Any]", _decode(data))
    payload: Any = told["payload"]
    if type(payload) is not dict or cast("dict[str, Any]", payload).get("name") != told.get("name"):
        return data
    return _encode({**told, **cast("dict[str, Any]", payload)})


def _shown(method: str, data: dict[str, Any]) -> dict[str, Any]:
    if method == "updates":
        return {**data, "values": shown_within(data.get("values"))}
    return shown_anywhere(data)


FACE = Face("snake", retold, _values)


class Commands(commands.Commands):
    """The commands, of assistants."""

    async def chosen(self, assistant_id: str, wish: Wish) -> tuple[str, Wish]:
        """The assistant's agent, and the assistant's configuration below what the client wants."""
        assistant = await chosen(self.api, self.owner, assistant_id)
        own = msgspec.convert(assistant.config, wire.Config)
        given = Config() if wish.config is UNSET else wish.config
        configurable = {**(own.configurable or {}), **(given.configurable or {})}
        tags = [*(own.tags or ()), *(given.tags or ())]
        config = Config(tags or UNSET, given.recursion_limit or own.recursion_limit or UNSET, configurable or UNSET)
        return assistant.agent_id, msgspec.structs.replace(
            wish,
            config=UNSET if config == Config() else config,
            context=UNSET if assistant.context is None else Raw(_encode(assistant.context)),
            langgraph=Dialect(assistant.assistant_id),
            thread_metadata=labels.of(assistant.agent_id, assistant.assistant_id),
        )

    async def begun(self, run: Run) -> None:
        """Notes on the thread whose runs it has."""
        said = run.asked_for().langgraph
        if said is not UNSET:
            await labels.put(self.api, self.owner, run.thread_id, run.agent_id, said.assistant_id)


@operation(
    "Streaming",
    needs="read",
    body=requests.SHAPE,
    answer=native.ThreadStreamEvent,
    media="text/event-stream",
    headers=("Last-Event-ID",),
)
async def open_thread_event_stream(call: Call) -> None:
    """Stream Thread Events

    Streams what happens on a thread, as server-sent events whose data are frames of the streaming protocol.
    """
    await routes.tell_events(call, FACE)


async def _converse(socket: Socket) -> None:
    await websocket.speak(socket, FACE, Commands)


@operation("Streaming", needs="read", errors=(422, 426), socket=_converse)
async def open_thread_event_socket(call: Call) -> None:
    """Open Thread WebSocket

    The same over a WebSocket, which takes commands, too.
    """
    routes.needs_socket(call)


@operation(
    "Streaming", needs="read", body=commands.ENVELOPE, answer=commands.StreamingCommandResponse, errors=(400, 404)
)
async def send_thread_command(call: Call) -> None:
    """Send Thread Command

    Does a command of the streaming protocol. One that fails is answered with 200, too: `type` says so.
    """
    await routes.do_command(call, FACE, Commands, malformed=400)


@operation(
    "Threads",
    needs="read",
    query=wire.THREAD_STREAM_QUERY,
    answer=answers.Event,
    media="text/event-stream",
    errors=(404,),
    headers=("Last-Event-ID",),
)
async def join_thread_stream(call: Call) -> None:
    """Join Thread Stream

    Streams all runs of a thread from now on, each in the modes that it was created with; with `Last-Event-ID` (0 is the
    start) what came behind that event first. Where one has ended: `metadata` with the status `run_done`.
    """
    query = call.query(wire.THREAD_STREAM_QUERY)
    asked = [text for texts in (query.stream_mode, query.stream_modes) if texts is not UNSET for text in texts]
    modes = frozenset(streams.separated(asked)) or frozenset({"run_modes"})
    for mode in modes:
        if mode not in _MODES:
            raise InvalidInput(f"stream_mode is {mode[:40]!r}; allowed: {', '.join(_MODES)}", field="stream_mode")
    after = sse.cursor(call, None)
    await _Tail(call, call.uuid("thread_id"), modes).tell(after)


class _Tail:
    """One reader of all runs of a thread."""

    def __init__(self, call: Call, thread_id: str, modes: frozenset[str]) -> None:
        self._call = call
        self._thread_id = thread_id
        self._modes = modes
        self._tellers: dict[str, Teller] = {}

    async def tell(self, after: int | None) -> None:
        """Until the server drains or the client leaves."""
        call = self._call
        await call.api.storage.thread(call.owner, self._thread_id)
        reader = await call.api.streams.join_thread(call.owner, self._thread_id)
        connection = sse.Connection(call)
        watch = asyncio.ensure_future(connection.watch(reader.close))
        try:
            await call.begin(list(sse.HEADERS))
            await connection.greet()
            with call.api.pulse.joined(connection):
                while after is not None and after < reader.mark and not connection.left:
                    events = await call.api.storage.events(
                        call.owner, self._thread_id, after=after, run_id=None, limit=PAGE
                    )
                    if not events:
                        break
                    after = events[-1].seq
                    await connection.send(await self._pieces([event for event in events if event.seq <= reader.mark]))
                async for events in reader:
                    await connection.send(await self._pieces(events))
                    del events  # they would be held until the next ones come
            connection.quieten()
            if not connection.left:
                await call.finish(sse.DRAINING if reader.drained else sse.CUT if reader.cut else b"")
        finally:
            reader.close()
            watch.cancel()

    async def _pieces(self, events: list[Event]) -> list[bytes]:
        return sse.joined([streams.framed(await self._frames(event), event) for event in events])

    async def _frames(self, event: Event) -> list[streams.Frame]:
        if event.run_id is None:
            return await self._outside(event)
        if event.kind == "lifecycle" and (told := lifecycle(event.data)).terminal:
            rest = await self._of_run(event) if "run_modes" in self._modes else []
            self._tellers.pop(event.run_id, None)
            done = _encode({"status": "run_done", "run_id": told.run_id})
            ends = self._modes & {"run_modes", "lifecycle"}
            return [*(frame for frame in rest if frame[0] != "end"), *([("metadata", done)] if ends else [])]
        if "run_modes" in self._modes:
            return await self._of_run(event)
        if event.kind == "lifecycle" and "lifecycle" in self._modes:
            return [streams.lifecycle_frame(event)]
        if event.kind == "values" and not event.namespace and "state_update" in self._modes:
            return await self._outside(event)
        return []

    async def _outside(self, event: Event) -> list[streams.Frame]:
        """A state, whoever made it."""
        if event.kind != "values" or event.namespace or event.state is None:
            return []
        return [("values", answers.values(event.state))]

    async def _of_run(self, event: Event) -> list[streams.Frame]:
        run_id = cast("str", event.run_id)
        teller = self._tellers.get(run_id)
        if teller is None:
            teller = self._tellers[run_id] = Teller(self._call.api, self._call.owner, await self._view(run_id))
        return await teller.shown(event)

    async def _view(self, run_id: str) -> View:
        try:
            run: runs.Run = await self._call.api.storage.run(self._call.owner, run_id)
        except NotFound:  # it was undone or removed since: only how it went is told
            return View(run_id, self._thread_id, "", "", frozenset(), inner=False)
        return streams.view(run, None, None)
