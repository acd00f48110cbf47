"""The engine: adapters, verbs and loops put together, with one order of starting and stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runyard.admission import Admission
from runyard.catalog import Catalog
from runyard.chores import Chores
from runyard.clock import Clock
from runyard.delivery import Courier, Render
from runyard.directory import Directory
from runyard.errors import InvalidInput, RunyardError
from runyard.events import Chunk
from runyard.executor import Executor
from runyard.hints.contract import Hints, thread_topic
from runyard.inspection import Inspection
from runyard.items import Lasting
from runyard.leases import Leases
from runyard.lifecycle import Lifecycle
from runyard.metrics import CONTENT_TYPE, LoopLag, Metrics, Moment
from runyard.outbound.contract import Outbound
from runyard.reaper import Reaper
from runyard.runtime.contract import Host, LoadedAgent, UsesStore
from runyard.runtime.index import Index
from runyard.runtime.inside import ServerAnswer, UsesServer
from runyard.scheduler import Made, Scheduler, Wish
from runyard.storage.calls import answering
from runyard.storage.contract import Standing, Storage
from runyard.streams import Streams
from runyard.telemetry import Spans, Telemetry
from runyard.threads import Expiry
from runyard.timetable import Timetable
from runyard.worker import Worker


class Terms(msgspec.Struct, frozen=True):
    """The settings that the engine obeys; times are seconds."""

    default_agent: str | None = None
    max_runs: int = 200
    max_pending: int = 100_000
    max_pending_per_owner: int = 100_000
    cancel_grace: float = 10.0
    disconnect_grace: float = 5.0
    drain_grace: float = 10.0
    stateless_retention: float = 3600.0
    run_retention: float = 0.0
    event_retention: float = 0.0
    thread_retention: float = 0.0
    thread_retention_strategy: Expiry = "delete"
    idempotency_retention: float = 86400.0
    sweep_interval: float = 60.0
    reader_queue_bytes: int = 4_000_000
    webhook_retry_for: float = 86400.0
    webhook_timeout: float = 15.0
    webhook_concurrency: int = 32
    webhook_retention: float = 604800.0
    max_value_bytes: int = 16_000_000
    lasting: Lasting = Lasting()
    webhooks: bool = True
    """Whether webhooks are told anything: where they are not, what a request says of one is passed over."""
    lease: float = 60.0
    """Of a database that is shared."""
    works: bool = True
    """Whether runs are executed here."""
    chore_timeout: float = 10.0


class Engine:
    """One engine over one storage. `start` before anything else, `drain` then `close` at the end; each once."""

    def __init__(
        self,
        *,
        storage: Storage,
        hints: Hints,
        host: Host,
        outbound: Outbound,
        render: Render,
        cron_wish: Wish,
        cron_made: Made,
        clock: Clock,
        agents: Mapping[str, LoadedAgent],
        terms: Terms,
        version: str = "0",
        spans: Spans | None = None,
        index: Index | None = None,
    ) -> None:
        """`index` makes vectors of texts, for agents' code that executes in this process.

        Raises:
            InvalidInput: the default agent is none of the agents.
            Unsupported: there is an index, and the storage cannot search by it.
        """
        if index is not None:
            storage.check_meanings()
        if terms.default_agent is not None and terms.default_agent not in agents and not storage.shared:
            raise InvalidInput(
                f"default_agent is {terms.default_agent!r}; agents here: {', '.join(sorted(agents)) or 'none'}",
                field="default_agent",
            )
        self.storage = storage
        self.clock = clock
        self.telemetry = Telemetry()
        self._metrics = Metrics(version, agents, self._moment)
        self._lag = LoopLag(self._metrics, self.telemetry)
        self.telemetry.subscribe(self._metrics.hear)
        self._spans = spans
        self._hints = hints
        self._host = host
        self._index = index
        self._agents = agents
        self.terms = terms
        self._state = "new"
        self._healthy = False
        self.serve_inside: ServerAnswer | None = None
        """What answers requests of agents' code to this server; to be set before the start."""
        self.streams = Streams(
            storage, clock, queue_bytes=terms.reader_queue_bytes, hints=hints if storage.shared else None
        )
        executor = Executor(
            storage=storage,
            host=host,
            hints=hints,
            clock=clock,
            telemetry=self.telemetry,
            retention=terms.stateless_retention,
            cancel_grace=terms.cancel_grace,
            spans=spans,
            max_value_bytes=terms.max_value_bytes,
            lasting=terms.lasting,
        )
        self.worker = Worker(
            storage=storage,
            executor=executor,
            hints=hints,
            clock=clock,
            telemetry=self.telemetry,
            agents=agents,
            max_runs=terms.max_runs,
        )
        self._leases = Leases(
            storage=storage,
            clock=clock,
            telemetry=self.telemetry,
            lease=terms.lease if terms.works else None,
            agents=sorted(agents),
            retention=terms.stateless_retention,
            doubt=self.worker.look,
        )
        self.verbs = Lifecycle(
            storage=storage,
            streams=self.streams,
            hints=hints,
            clock=clock,
            slots=self.worker,
            check_webhook=outbound.check,
            loaded=agents,
            default_agent=terms.default_agent,
            retention=terms.stateless_retention,
            cancel_grace=terms.cancel_grace,
            disconnect_grace=terms.disconnect_grace,
            admission=Admission(
                count=storage.pending,
                clock=clock,
                most=terms.max_pending,
                most_of_owner=terms.max_pending_per_owner,
                shared=storage.shared,
            ),
            spans=spans,
            webhooks=terms.webhooks,
        )
        self._chores = Chores(
            storage=storage,
            host=host,
            clock=clock,
            agents=agents,
            timeout=terms.chore_timeout,
            grace=terms.cancel_grace,
            max_value_bytes=terms.max_value_bytes,
        )
        self.inspection = Inspection(
            storage=storage,
            streams=self.streams,
            chores=self._chores,
            clock=clock,
            agents=self.verbs.agents,
            loaded=agents if terms.works else {},
        )
        self.catalog = Catalog(storage=storage, verbs=self.verbs, hints=hints)
        self.timetable = Timetable(storage=storage, verbs=self.verbs, hints=hints, clock=clock, wish=cron_wish)
        self.scheduler = Scheduler(
            storage=storage,
            create=self.verbs.create_run,
            wish=cron_wish,
            made=cron_made,
            hints=hints,
            clock=clock,
            telemetry=self.telemetry,
        )
        self._directory = Directory(
            storage=storage, clock=clock, hints=hints, telemetry=self.telemetry, learn=self.verbs.learn
        )
        self.reaper = Reaper(
            storage=storage,
            clock=clock,
            telemetry=self.telemetry,
            interval=terms.sweep_interval,
            keys_kept=terms.idempotency_retention,
            deliveries_kept=terms.webhook_retention,
            runs_kept=terms.run_retention,
            events_kept=terms.event_retention,
            threads_kept=terms.thread_retention,
            threads_by=terms.thread_retention_strategy,
        )
        self.courier = Courier(
            storage=storage,
            outbound=outbound,
            hints=hints,
            clock=clock,
            telemetry=self.telemetry,
            render=render,
            retry_for=terms.webhook_retry_for,
            timeout=terms.webhook_timeout,
            places=terms.webhook_concurrency,
        )

    async def start(self) -> None:
        """Opens the storage, puts back in line what an earlier server left executing, and begins to work.

        Raises:
            Unavailable: another server holds the database.
        """
        if self._state != "new":
            return
        await self.storage.open()
        self.storage.on_commit = self._committed
        self.storage.on_group = self._metrics.grouped
        self.storage.on_ready = lambda: self._hints.publish("ready")
        self.storage.on_outbox = lambda: self._hints.publish("outbox")
        try:
            await self._hints.open()
            await self._take_over()
        except BaseException:
            await self._hints.close()
            await self.storage.close()
            raise
        answer = answering(self.storage, self.clock, self.terms.lasting)
        for user in (self._host, *self._agents.values()):
            if isinstance(user, UsesStore):
                user.attach(answer, self._index)
            if isinstance(user, UsesServer) and self.serve_inside is not None:
                user.attach_server(self.serve_inside)
        if self.terms.works:
            self._host.start()
            self.worker.start()
        self._leases.start()
        self.courier.start()
        self.catalog.start()
        self.scheduler.start()
        self.reaper.start()
        self._lag.start()
        self._state = "ready"

    async def _take_over(self) -> None:
        """From whoever served the database before."""
        await self._leases.take_over()
        await self.storage.publish_agents([loaded.agent for loaded in self._agents.values()], self.clock.now())
        if self.storage.shared:
            self._hints.tell_others(["agents"])
            await self._directory.start()

    def _committed(self, chunks: Sequence[Chunk]) -> None:
        """Events have become durable: those who wait for them are told, and ends of runs are counted."""
        self.streams.committed(chunks)
        if self.storage.shared:
            topics = {thread_topic(chunk.owner, chunk.thread_id): None for chunk in chunks}
            topics.update((f"end:{chunk.run_id}", None) for chunk in chunks if chunk.over is not None)
            self._hints.tell_others([*topics])
        self._metrics.committed(chunks)
        for chunk in chunks:
            over = chunk.over
            if over is not None:
                self.telemetry.tell(
                    "run ended",
                    run_id=chunk.run_id,
                    thread_id=chunk.thread_id,
                    agent_id=over.agent_id,
                    outcome=over.outcome,
                    attempt=over.attempt,
                )

    async def readiness(self) -> dict[str, Any]:
        """Whether runs are taken, why not, and which agents have runs that no worker can execute. Tries the database,
        unless it has just proven itself.

        A late event loop is no reason: the answer is late then, and a server that is busy is not broken.
        """
        reasons = self._reasons()
        if self._state == "ready":
            trouble = await self.storage.trouble()
            reasons += [] if trouble is None else [trouble]
        self._healthy = not reasons
        return {"ready": not reasons, "reasons": reasons, "unoffered": await self._unoffered() if not reasons else {}}

    async def _unoffered(self) -> dict[str, int]:
        return await self.storage.unoffered(sorted(self._agents) if self.terms.works else [])

    def _reasons(self) -> list[str]:
        if self._state != "ready":
            return ["the server is starting" if self._state == "new" else "the server is stopping"]
        if not self.terms.works:
            return []
        reasons = [] if self.worker.alive else ["runs that wait are not claimed any more; restart the server"]
        return reasons + [trouble for trouble in (self._leases.trouble, self._host.trouble) if trouble is not None]

    async def exposition(self) -> tuple[bytes, bytes]:
        """The metrics: their content type and text. A database that does not answer costs its own figures only."""
        standing: Standing | None = None
        readiness = await self.readiness()
        if readiness["ready"]:
            try:
                standing = await self.storage.standing(self.clock.now())
            except RunyardError:
                pass  # it has failed since; the next look says why
        return CONTENT_TYPE, self._metrics.render(standing, readiness["unoffered"])

    def _moment(self) -> Moment:
        return Moment(
            ready=self._healthy,
            readers=self.streams.readers,
            readers_cut=self.streams.cut,
            delivered=self.streams.delivered,
            executing=self.worker.executing,
            free=self.worker.free,
        )

    def announce_stop(self) -> None:
        """From now on the server says that it is not ready. It works as ever, until it is drained."""
        if self._state == "ready":
            self._state = "stopping"

    async def drain(self) -> bool:
        """Ends all work: attempts stop or go back in line at no cost, streams end. Whether all code has ended."""
        if self._state not in ("ready", "stopping"):
            return True
        self._state = "draining"
        self._lag.stop()
        self.scheduler.close()
        self.verbs.close()
        ended, _ = await asyncio.gather(
            self.worker.drain(self.terms.drain_grace),
            self.verbs.answered(self.terms.drain_grace if self.storage.shared else 0.0),
        )
        self.streams.drain()
        await self._leases.stop()
        await self._directory.stop()
        await self.scheduler.stop()
        await self.courier.stop()
        await self.reaper.stop()
        return ended

    async def close(self) -> bool:
        """Drains, then closes everything. Whether all code has ended: where it has not, only the end of the process
        ends it."""
        if self._state == "new":
            return True
        ended = await self.drain()
        ended = await self._host.close(0.0 if not ended else self.terms.drain_grace) and ended
        await self._chores.close()
        await self._hints.close()
        await self.storage.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        self._state = "closed"
        return ended
