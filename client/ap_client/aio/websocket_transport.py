"""A watched thread over a WebSocket: everything over one connection. It takes the library `websockets`."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ap_client.aio.client import ApiClient
from ap_client.aio.news import News
from ap_client.call import build_request, failure
from ap_client.conversion import encode
from ap_client.exceptions import ApiException, ForbiddenException, TransportException, exception_for
from ap_client.in_band import InBand
from ap_client.inbox import Inbox
from ap_client.models.streaming_command import StreamingCommand
from ap_client.operations.streaming import open_thread_websocket_stream
from ap_client.retry import Persistence
from ap_client.steering import Command, result_of
from ap_client.thread_events import said
from ap_client.watch import Watch

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

CONNECT_SECONDS = 10.0
PING_SECONDS = 20.0
"""After twice this time without an answer to a ping the connection is taken for dead."""

POLICY_VIOLATION = 1008
_PASSING = frozenset({408, 429})
_OF_HANDSHAKE = frozenset({"connection", "upgrade", "accept"})


class WebSocketTransport:
    """The connection under one stream. Raises ImportError, which says what to install, where the library is missing."""

    def __init__(self, client: ApiClient, watch: Watch, news: News) -> None:
        try:
            import websockets.asyncio.client as library
        except ImportError as error:
            wanted = "transport='websocket' needs the library websockets: pip install 'runyard-client[websocket]'"
            raise ImportError(wanted) from error
        self._connect = library.connect
        self._client = client
        self._watch = watch
        self._news = news
        self._band = InBand(watch)
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def attach(self) -> None:
        """Have what is pending told from now on. Raises ApiException when that cannot be had."""
        taken = self._band.take()
        with self._news.awaited():
            await self._attach(taken)

    async def _attach(self, taken: list[Inbox[Any]]) -> None:
        await self._connected()
        if taken:
            await self._say_due()
        while waiting := [inbox for inbox in taken if inbox.live and not self._band.is_attached(inbox)]:
            self._changed.clear()
            await self._changed.wait()
            if self._error is not None and waiting:
                raise self._error

    async def detach(self, inbox: Inbox[Any]) -> None:
        """A subscription is over."""
        for command in self._band.unsubscribing():
            await self._say(command)

    async def command(self, command: Command) -> Mapping[str, Any]:
        """Send a command: its result. Raises CommandError when it is refused, ApiException when it fails."""
        while True:
            with self._news.awaited():
                await self._connected()
                body = self._band.numbered(command)
                answer = self._answers[body.id] = asyncio.get_running_loop().create_future()
                try:
                    await self._say(body)
                    return result_of(await answer)
                except TransportException:
                    # Nobody can say whether the server has done it.
                    if not command.repeatable:
                        raise
                finally:
                    self._answers.pop(body.id, None)

    async def close(self) -> None:
        """Close the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._error = TransportException(0, "the stream was closed")
        self._ready.set()
        self._changed.set()

    async def _connected(self) -> None:
        """Wait until there is a connection. Raises ApiException when there will be none."""
        if self._task is None or self._task.done():
            self._error = None
            self._ready.clear()
            self._task = asyncio.create_task(self._kept())
        while not self._ready.is_set():
            await self._ready.wait()
        if self._error is not None:
            raise self._error

    async def _kept(self) -> None:
        """Connections, one after the other, until none can be had."""
        configuration = self._client.configuration
        persistence = Persistence(configuration.backoff, configuration.retries_at_most)
        clock = asyncio.get_running_loop().time
        try:
            while True:
                began = clock()
                try:
                    lost = await self._once(persistence)
                except ApiException as error:
                    lost = error
                finally:
                    self._cut()
                await asyncio.sleep(persistence.lost(lost, clock() - began))
        except Exception as error:
            # Whatever it is, those who wait must not wait for ever.
            self._error = error
            self._watch.fail(error)
            self._ready.set()
            self._changed.set()

    async def _once(self, persistence: Persistence) -> ApiException:
        """One connection, to its end: why it ended."""
        from websockets.exceptions import ConnectionClosed

        self._socket = socket = await self._opened()
        # What is said is not waited for by who reads: the server may have to be read from first.
        saying: set[asyncio.Task[None]] = set()
        try:
            self._band.connected()
            self._ready.set()
            self._beside(saying, self._say_due())
            while True:
                frame = msgspec.json.decode(await socket.recv(decode=False))
                if said(frame, "type") == "event":
                    persistence.progressed()
                self._told(frame)
                for command in self._band.unsubscribing():
                    self._beside(saying, self._say(command))
                if self._news.crowded:
                    await self._news.room()
        except ConnectionClosed as closed:
            return _why(closed.rcvd.code if closed.rcvd else None, closed.rcvd.reason if closed.rcvd else str(closed))
        except msgspec.DecodeError as error:
            return ApiException(0, f"the server sent what is no JSON: {error}")
        finally:
            for each in saying:
                each.cancel()
            await socket.close()

    def _beside(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _told(self, frame: Any) -> None:
        answer = self._band.told(frame)
        if answer is not None:
            waiting = self._answers.get(answer.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer.frame)
        self._changed.set()

    async def _say_due(self) -> None:
        for command in self._band.subscribing():
            await self._say(command)

    async def _say(self, command: StreamingCommand) -> None:
        """Send it, where there is a connection. What does not get through is noticed by who reads."""
        from websockets.exceptions import ConnectionClosed

        if self._socket is None:
            self._lose(command.id)
            return
        try:
            await self._socket.send(encode(command).decode())
        except ConnectionClosed:
            self._lose(command.id)

    def _lose(self, number: int) -> None:
        waiting = self._answers.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_exception(TransportException(0, "the connection was lost before the answer came"))

    def _cut(self) -> None:
        """The connection is gone, and with it the answers that it owes."""
        self._socket = None
        self._ready.clear()
        for number in list(self._answers):
            self._lose(number)

    async def _opened(self) -> "ClientConnection":
        """A new connection. Raises the ApiException that a refusal means."""
        from websockets.exceptions import InvalidStatus, WebSocketException

        configuration = self._client.configuration
        call = open_thread_websocket_stream(self._watch.thread_id)
        request = build_request(call, configuration, self._client.default_headers, self._client.cookie)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _OF_HANDSHAKE and not name.lower().startswith("sec-websocket-")
        }
        more: dict[str, Any] = {"proxy": configuration.proxy or True}
        if request.url.startswith("https:"):
            tls = configuration.tls()
            more["ssl"] = None if isinstance(tls, bool) else tls
            more["server_hostname"] = configuration.tls_server_name
        try:
            return await self._connect(
                "ws" + request.url.removeprefix("http"),
                additional_headers=headers,
                user_agent_header=None,
                open_timeout=CONNECT_SECONDS,
                close_timeout=1.0,
                ping_interval=PING_SECONDS,
                ping_timeout=2 * PING_SECONDS,
                compression=None,
                max_size=None,
                **{name: value for name, value in more.items() if value is not None},
            )
        except InvalidStatus as refused:
            answer = refused.response
            refusal = failure(answer.status_code, answer.reason_phrase, bytes(answer.body or b""), None)
            refusal.headers = dict(answer.headers.raw_items())
            raise refusal from refused
        except (OSError, EOFError, WebSocketException) as error:
            lost = TransportException(0, f"GET {request.url}: {error or type(error).__name__}")
            lost.unsent = True
            raise lost from error


def _why(code: int | None, reason: str) -> ApiException:
    """What the end of a connection means: most pass, some are final."""
    if code == POLICY_VIOLATION:
        return ForbiddenException(403, f"the server has closed the connection: {reason}")
    status = (code or 0) - 4000
    if 400 <= status <= 499 and status not in _PASSING:
        return exception_for(status)(status, reason)
    return ApiException(0, f"the connection was closed ({code}): {reason}")
