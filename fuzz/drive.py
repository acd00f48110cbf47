"""Sends what the grammar makes over several connections, judges every answer, and at the end what was kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fuzz.grammar import CREATES_RUNS, Grammar
from fuzz.oracle import COMMAND, Oracle
from fuzz.server import HOST, ServerProcess
from fuzz.wire import Answer, Connection, Request

DEADLINE_S = 10.0
"""Within which an answer has to begin, and one that does not wait for a run has to end."""
LASTING_S = 1.0
"""After which a wait or a stream is looked at: either its run waits for something, or it hangs."""
ALIVE_EVERY = 1000
MOST_FAILURES = 20

_BREAKS_CONNECTION = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "bad header"})
_REFUSABLE = 400


@dataclass
class Report:
    """What came of it: statuses by operation, and every failure in words."""

    requests: int = 0
    seconds: float = 0.0
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Driver:
    """One fuzzing of one server."""

    def __init__(self, server: ServerProcess, seed: int, progress: Callable[[str], None]) -> None:
        self.report = Report()
        self._server = server
        self._grammar = Grammar(seed)
        self._progress = progress
        self._side = Connection(HOST, server.port)
        self._accepted: set[str] = set()
        """Runs whose creation was answered."""
        self._unsure = 0
        """Creations that ended without an answer."""
        self._refused_threads: set[str] = set()
        self._refused_markers: set[str] = set()
        self._lock = asyncio.Lock()

    async def drive(self, requests: int, connections: int) -> Report:
        """Sends that many requests, then looks at what is left."""
        begun = time.monotonic()
        document = await self._ask("GET", "/openapi.json")
        self._oracle = Oracle(document)
        await asyncio.gather(*(self._send_all(requests) for _ in range(connections)))
        if len(self.report.failures) < MOST_FAILURES:
            await self._look_back()
        self._side.close()
        if self._server.process.poll() is not None:
            self._fail(f"the server has ended:\n{self._server.log_text()[-2000:]}")
        self.report.failures += [f"the server has logged: {line}" for line in self._server.errors()]
        self.report.seconds = time.monotonic() - begun
        return self.report

    async def _send_all(self, requests: int) -> None:
        connection = Connection(HOST, self._server.port)
        while self.report.requests < requests and len(self.report.failures) < MOST_FAILURES:
            self.report.requests += 1
            if self.report.requests % 200 == 0:
                self._progress(f"{self.report.requests} of {requests} requests, {len(self.report.failures)} failures")
            if self.report.requests % ALIVE_EVERY == 0:
                await self._check_alive()
            await self._send(connection, self._grammar.next())
        connection.close()

    async def _send(self, connection: Connection, request: Request) -> None:
        name, _ = self._oracle.operation(request)
        try:
            answer = await asyncio.wait_for(connection.send(request), DEADLINE_S)
            await self._read(connection, request, answer)
        except TimeoutError:
            self.report.statuses[name, "hang"] += 1
            self._unsure += name in {*CREATES_RUNS, COMMAND}
            self._fail("no answer in time", request)
            connection.close()
            return
        except (OSError, EOFError, ValueError, KeyError) as error:
            connection.close()
            self._unsure += name in {*CREATES_RUNS, COMMAND}
            self.report.statuses[name, "broken"] += 1
            if not _may_break(request):
                self._fail(f"the connection broke: {error!r}", request)
            return
        self.report.statuses[name, str(answer.status)] += 1
        for fault in self._oracle.faults(request, answer):
            self._fail(fault, request, answer)
        self._learn(name, request, answer)
        if not answer.complete or _may_break(request):
            connection.close()

    async def _read(self, connection: Connection, request: Request, answer: Answer) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(connection.read(answer), LASTING_S)
        if answer.complete:
            return
        run = answer.headers.get("content-location", "").rpartition("/")[2] or _run_in(request.path)
        if run is not None and (told := await self._ask("GET", f"/runs/{run}")).get("status") == "pending":
            if told["attempt"] > 0:
                self._fail(f"run {run} does not end: {told}", request, answer)
            # It is due later, or in line behind a question: whoever waits for it is told of its end.
            await self._ask("POST", f"/runs/{run}/cancel?wait=true")
        await asyncio.wait_for(connection.read(answer), DEADLINE_S)

    def _learn(self, name: str, request: Request, answer: Answer) -> None:
        thread, marker, creates = _wishes(request)
        if answer.status >= _REFUSABLE:
            if thread in self._grammar.made_up:
                self._refused_threads.add(thread)
            if marker is not None and name == "put_item":
                self._refused_markers.add(marker)
            return
        where = answer.headers.get("content-location") or answer.headers.get("location") or ""
        if "/runs/" in where and name in CREATES_RUNS:
            run = where.rpartition("/")[2]
            self._accepted.add(run)
            if not creates:
                self._grammar.runs.append(run)
                if thread is not None:
                    self._grammar.thread_runs.append((thread, run))
        if name == COMMAND and answer.complete and answer.status == 200:
            told = json.loads(answer.body)
            if run := told.get("result", {}).get("runId"):
                self._accepted.add(run)
                self._grammar.runs.append(run)
            elif told.get("result") == {}:
                self._unsure += 1  # an answer to a question: its run is not named
        if name == "get_thread_history" and answer.complete:
            states = json.loads(answer.body)
            asked = request.path.split("/")[2]
            self._grammar.checkpoints.extend((asked, state["checkpoint"]["checkpoint_id"]) for state in states)

    async def _check_alive(self) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(DEADLINE_S):
                told = await self._ask("GET", "/ok")
        except (TimeoutError, OSError, EOFError) as error:
            self._fail(f"the server does not answer /ok: {error!r}")
            return
        if told != {"ok": True} or time.monotonic() - begun > DEADLINE_S:
            self._fail(f"/ok answered {told}")

    async def _look_back(self) -> None:
        """Nothing is busy for ever, and what was refused is not there."""
        self._progress("looking at what was kept")
        deadline = time.monotonic() + DEADLINE_S
        while busy := await self._ask("POST", "/threads/search", {"status": "busy", "limit": 1000}):
            runs = await self._ask("GET", f"/threads/{busy[0]['thread_id']}/runs?status=pending&limit=1000")
            if time.monotonic() > deadline:
                self._fail(f"{len(busy)} threads stay busy, such as {busy[0]}\n    with the runs {runs}")
                break
            # A plain run that became due behind an open question waits until that is answered: it is withdrawn.
            for run in runs if time.monotonic() > deadline - DEADLINE_S / 2 else ():
                if run["attempt"] == 0:
                    await self._ask("POST", f"/runs/{run['run_id']}/cancel?wait=true")
            await asyncio.sleep(0.1)
        stored = {run["run_id"] for run in await self._all("/runs/search")}
        unknown = stored - self._accepted
        if len(unknown) > self._unsure:
            self._fail(f"{len(unknown)} runs are stored that nobody was given, such as {sorted(unknown)[:3]}")
        threads = {thread["thread_id"] for thread in await self._all("/threads/search")}
        if kept := threads & self._refused_threads:
            self._fail(f"{len(kept)} threads of refused creations are stored, such as {sorted(kept)[:3]}")
        items = (await self._all("/store/items/search", "items")) if self._refused_markers else []
        markers = {str(item["value"].get("marker")) for item in items}
        if kept := markers & self._refused_markers:
            self._fail(f"{len(kept)} refused items are stored, such as {sorted(kept)[:3]}")

    async def _all(self, path: str, member: str | None = None) -> list[Any]:
        found: list[Any] = []
        while True:
            page = await self._ask("POST", path, {"limit": 1000, "offset": len(found)})
            page = page if member is None else page[member]
            found += page
            if len(page) < 1000:
                return found

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request of our own, on a connection of its own."""
        text = None if body is None else json.dumps(body).encode()
        async with self._lock:
            try:
                answer = await asyncio.wait_for(
                    self._side.send(Request("", method, path, [("content-type", "application/json")], text)), DEADLINE_S
                )
                await asyncio.wait_for(self._side.read(answer), DEADLINE_S)
            except BaseException:
                self._side.close()
                raise
        return json.loads(answer.body) if answer.body else None

    def _fail(self, what: str, request: Request | None = None, answer: Answer | None = None) -> None:
        if request is not None:
            sent = request.encode()
            what += f"\n    sent ({request.operation}): {sent[:1500]!r}{'...' if len(sent) > 1500 else ''}"
        if answer is not None:
            what += f"\n    answer: {answer.status} {answer.headers} {answer.body[:1500]!r}"
        self.report.failures.append(what)


def _may_break(request: Request) -> bool:
    """Whether the connection may end with this request, or is not to be used after it."""
    return any(name in _BREAKS_CONNECTION for name, _ in request.headers) or len(request.body or b"") > 4_000_000


def _run_in(path: str) -> str | None:
    pieces = path.partition("?")[0].split("/")
    return pieces[pieces.index("runs") + 1] if "runs" in pieces[:-1] else None


def _wishes(request: Request) -> tuple[str | None, str | None, bool]:
    """The thread of a creation, the marker of an item, and whether a run would begin later."""
    wish = request.wish
    pieces = request.path.split("/")
    thread = pieces[2] if pieces[1:2] == ["threads"] and len(pieces) > 3 and pieces[3].startswith("runs") else None
    thread = thread or wish.get("thread_id")
    value = wish.get("value")
    marker = value.get("marker") if isinstance(value, dict) else None
    return (
        thread if isinstance(thread, str) and request.operation in CREATES_RUNS else None,
        marker if isinstance(marker, str) and marker[:1] == "m" else None,
        isinstance(wish.get("after_seconds"), int | float) and wish["after_seconds"] > LASTING_S / 2,
    )
