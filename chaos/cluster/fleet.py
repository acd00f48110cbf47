"""Servers and workers of one PostgreSQL database, each a process of its own, and the database's server with them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from chaos.cluster.proxy import Proxy
from chaos.report import Broken
from chaos.server import AGENTS, Server
from runyard.events import decode, lifecycle
from tests.postgres_server import OwnServer, own_server

LEASE_S = 6.0
PATIENCE_S = 30.0
SETTINGS = {"synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on", "max_connections": "120"}


class Fleet:
    """One of each kind: an API server without workers, one with, a worker, and one whose agents run in a process of
    their own."""

    def __init__(self, folder: Path, postgres: OwnServer, proxies: Mapping[str, Proxy], *, lease: float) -> None:
        self.folder = folder
        self.postgres = postgres
        self.proxies = proxies
        """Through which members reach the database, those that have one."""
        self._lease = lease
        self.members: dict[str, Server] = {}
        self._add("api", "serve", workers=0)
        self._add("both", "serve", processes=0)
        self._add("worker", "worker", processes=0)
        self._add("apart", "worker", processes=1)

    def _add(self, name: str, command: str, **settings: object) -> None:
        folder = self.folder / name
        folder.mkdir()
        agents = [] if settings.get("workers") == 0 else [AGENTS]
        self.members[name] = Server(
            folder,
            agents=agents,
            database=self.proxies[name].url if name in self.proxies else self.postgres.url,
            command=command,
            settings={"lease": self._lease, "log_level": "info", **settings},
            env={"PYTHONPYCACHEPREFIX": ""},  # that of the sources: all of them start at once
        )

    @property
    def urls(self) -> list[str]:
        """Of the servers that have an API."""
        return [self.members[name].url for name in ("api", "both")]

    @property
    def workers(self) -> list[Server]:
        """Those that do nothing but execute."""
        return [self.members[name] for name in ("worker", "apart")]

    async def start(self) -> None:
        """Returns when all are ready."""
        await asyncio.gather(*(member.start() for member in self.members.values()))

    async def ready(self) -> None:
        """Waits until all are.

        Raises:
            Broken: one does not become so.
        """
        for name, member in self.members.items():
            for _ in range(int(PATIENCE_S / 0.05)):
                if await member.ready():
                    break
                await asyncio.sleep(0.05)
            else:
                raise Broken(f"{name} does not become ready again")

    def end(self) -> None:
        for member in self.members.values():
            if member.running:
                member.go_on()
                member.terminate()
        for member in self.members.values():
            member.end()

    def log_end(self) -> str:
        """The last of what each has printed."""
        return "\n".join(f"-- {name}\n{member.log_end()[-1500:]}" for name, member in self.members.items())

    async def audit(self) -> int:
        """Holds the log itself to its laws: numbers without a gap or a double, and one end for each run that has ended.
        How many events there are.

        Raises:
            Broken: they do not hold.
        """
        connection = await asyncpg.connect(self.postgres.url)
        try:
            rows = await connection.fetch("SELECT * FROM events ORDER BY owner, thread_id, last_seq")
            threads = dict(await connection.fetch("SELECT thread_id, last_seq FROM threads"))
            runs = dict(await connection.fetch("SELECT run_id, status FROM runs"))
        finally:
            await connection.close()
        numbers: dict[str, int] = {}
        ends: dict[str, int] = {}
        for row in rows:
            entries, thread_id = decode(row["body"]), row["thread_id"]
            before = numbers.get(thread_id, 0)
            if row["first_seq"] != before + 1 or row["last_seq"] != before + len(entries):
                raise Broken(f"thread {thread_id} has event {row['first_seq']} to {row['last_seq']} after {before}")
            numbers[thread_id] = row["last_seq"]
            for entry in entries:
                if entry.kind == "lifecycle" and (told := lifecycle(entry.data)).terminal:
                    ends[told.run_id] = ends.get(told.run_id, 0) + 1
        if wrong := {thread_id: last for thread_id, last in threads.items() if numbers.get(thread_id, 0) != last}:
            raise Broken(f"threads whose last number is not that of their log: {wrong}")
        finished = {run_id for run_id, status in runs.items() if status not in ("pending", "running")}
        if wrong := {run_id for run_id in finished | ends.keys() if ends.get(run_id) != 1 or run_id not in finished}:
            raise Broken(f"{len(wrong)} runs have not ended once, one is {min(wrong)}: {ends.get(min(wrong), 0)} times")
        return sum(numbers.values())


@asynccontextmanager
async def fleet(part: str, *, lease: float = LEASE_S, behind: Sequence[str] = ()) -> AsyncGenerator[Fleet]:
    """A fleet that is ready, on a PostgreSQL of its own, which has to survive its own crashes, but not those of the
    machine. Members in `behind` reach it through a proxy each.

    Raises:
        Broken: as its body, with what the members have said.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"runyard-{part}-"))
        postgres = stack.enter_context(own_server(**SETTINGS))
        async with AsyncExitStack() as ways:
            proxies = {name: await ways.enter_async_context(Proxy(postgres.url)) for name in behind}
            made = Fleet(Path(folder), postgres, proxies, lease=lease)
            try:
                await made.start()
                yield made
            except Exception as error:
                raise Broken(f"{part}: {_first(error)}\n{made.log_end()}") from error
            finally:
                made.end()


def _first(error: Exception) -> str:
    found: BaseException = error
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return str(found) if isinstance(found, Broken) else f"{type(found).__name__}: {found}"
