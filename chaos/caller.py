"""A client that does not give up: it sends a request again until it is answered, as people's clients do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp

PAUSE_S = 0.03
_BROKEN = (aiohttp.ClientError, OSError, asyncio.TimeoutError, json.JSONDecodeError)


@dataclass(frozen=True)
class Answer:
    """What came: the status, the JSON body, whether the server said that it had known the key, and whether it was sent
    before and not answered."""

    status: int
    body: Any
    replayed: bool = False
    again: bool = False


class Caller:
    """Calls any of the servers of one database. `unanswered` counts requests that were not answered."""

    def __init__(self, url: str | Sequence[str], dice: Random) -> None:
        self._urls = [url] if isinstance(url, str) else [*url]
        self.unanswered = 0
        self._dice = dice
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @property
    def url(self) -> str:
        """One of the servers."""
        return self._dice.choice(self._urls) if len(self._urls) > 1 else self._urls[0]

    async def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        """Sends it until it is answered with something else than 503."""
        again = False
        while True:
            try:
                return replace(await self.once(self.url, method, path, body, key=key), again=again)
            except _BROKEN:
                again = True
            self.unanswered += 1
            await asyncio.sleep(PAUSE_S)

    async def once(self, url: str, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        """Sends it to a server.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: it was not answered, or with 503.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        async with self._session.request(method, url + path, json=body, headers=headers) as answer:
            text = await answer.read()
            if answer.status == 503:
                raise aiohttp.ClientError(text.decode())
            found = json.loads(text) if text.strip() else None
            return Answer(answer.status, found, "Idempotent-Replayed" in answer.headers)

    def stream(self, url: str, run_id: str, after: int) -> Any:
        """The events of a run after a number, over one connection."""
        return self._session.get(
            f"{url}/runs/{run_id}/stream",
            params={"stream_mode": "custom"},
            headers={"Last-Event-ID": str(after)},
        )

    async def lose(self, path: str, body: Any, *, key: str) -> None:
        """Sends a request and hangs up before the answer can come."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        text = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n"
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        try:
            writer.write(f"{head}content-length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()
            await asyncio.sleep(self._dice.random() * 0.01)
        except OSError:
            pass
        finally:
            writer.close()

    async def events(self, run_id: str, *, after: int = 0) -> list[tuple[int, str, Any]]:
        """All events of a run after a number, to its end, over as many connections as it takes: id, name, data."""
        found: list[tuple[int, str, Any]] = []
        while not (found and found[-1][1] == "end"):
            try:
                async with self.stream(self.url, run_id, after) as answer:
                    if answer.status == 404:
                        return found
                    async for event in parsed(answer.content):
                        after = event[0] or after
                        found.append(event)
                        if event[1] == "end":
                            return found
            except _BROKEN:
                pass
            self.unanswered += 1
            await asyncio.sleep(PAUSE_S)
        return found


async def parsed(stream: aiohttp.StreamReader) -> Any:
    """The events of a stream: id, name, data."""
    event: dict[bytes, bytes] = {}
    async for line in stream:
        line = line.rstrip(b"\n")
        if line:
            name, _, value = line.partition(b": ")
            event[name] = value
        elif b"event" in event:
            yield int(event.get(b"id", b"0")), event[b"event"].decode(), json.loads(event[b"data"])
            event = {}
        else:
            event = {}
