"""The engine: adapters, verbs and loops put together, with one order of starting and stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from runyard.clock import Clock
from runyard.errors import InvalidInput
from runyard.executor import Executor
from runyard.hints.contract import Hints
from runyard.lifecycle import Lifecycle
from runyard.reaper import Reaper
from runyard.runtime.contract import Host, LoadedAgent
from runyard.storage.contract import Storage
from runyard.streams import Streams
from runyard.telemetry import Telemetry
from runyard.worker import Worker


class Terms(msgspec.Struct, frozen=True):
    """The settings that the engine obeys; times are seconds."""

    default_agent: str | None = None
    max_runs: int = 200
    cancel_grace: float = 10.0
    disconnect_grace: float = 5.0
    drain_grace: float = 10.0
    stateless_retention: float = 3600.0
    idempotency_retention: float = 86400.0
    sweep_interval: float = 60.0
    reader_queue_bytes: int = 4_000_000


class Engine:
    """One engine over one storage. `start` before anything else, `drain` then `close` at the end; each once."""

    def __init__(
        self,
        *,
        storage: Storage,
        hints: Hints,
        host: Host,
        clock: Clock,
        agents: Mapping[str, LoadedAgent],
        terms: Terms,
    ) -> None:
        if terms.default_agent is not None and terms.default_agent not in agents:
            raise InvalidInput(
                f"default_agent is {terms.default_agent!r}; agents here: {', '.join(sorted(agents)) or 'none'}",
                field="default_agent",
            )
        self.storage = storage
        self.clock = clock
        self.telemetry = Telemetry()
        self._hints = hints
        self._host = host
        self._agents = agents
        self._terms = terms
        self._state = "new"
        self.streams = Streams(storage, clock, queue_bytes=terms.reader_queue_bytes)
        executor = Executor(
            storage=storage,
            host=host,
            hints=hints,
            clock=clock,
            telemetry=self.telemetry,
            retention=terms.stateless_retention,
            cancel_grace=terms.cancel_grace,
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
        self.verbs = Lifecycle(
            storage=storage,
            streams=self.streams,
            hints=hints,
            clock=clock,
            slots=self.worker,
            loaded=agents,
            default_agent=terms.default_agent,
            retention=terms.stateless_retention,
            cancel_grace=terms.cancel_grace,
            disconnect_grace=terms.disconnect_grace,
        )
        self.reaper = Reaper(
            storage=storage,
            clock=clock,
            telemetry=self.telemetry,
            interval=terms.sweep_interval,
            keys_kept=terms.idempotency_retention,
        )

    async def start(self) -> None:
        """Opens the storage, puts back in line what an earlier server left executing, and begins to work.

        Raises:
            Unavailable: another server holds the database.
        """
        if self._state != "new":
            return
        await self.storage.open()
        self.storage.on_commit = self.streams.committed
        self.storage.on_ready = lambda: self._hints.publish("ready")
        try:
            await self._take_over()
        except BaseException:
            await self.storage.close()
            raise
        self.worker.start()
        self.reaper.start()
        self._state = "ready"

    async def _take_over(self) -> None:
        """From whoever served the database before."""
        now = self.clock.now()
        recovered = await self.storage.recover(now, now + int(self._terms.stateless_retention * 1e6))
        if recovered.requeued or recovered.lost:
            self.telemetry.tell("recovered", requeued=len(recovered.requeued), lost=len(recovered.lost))
        await self.storage.publish_agents([loaded.agent for loaded in self._agents.values()], now)

    def readiness(self) -> dict[str, Any]:
        """Whether runs are taken, and why not."""
        if self._state == "ready":
            return {"ready": True, "reasons": []}
        reason = {"new": "the server is starting"}.get(self._state, "the server is stopping")
        return {"ready": False, "reasons": [reason]}

    async def drain(self) -> bool:
        """Ends all work: attempts stop or go back in line at no cost, streams end. Whether all code has ended."""
        if self._state != "ready":
            return True
        self._state = "draining"
        self.verbs.close()
        ended = await self.worker.drain(self._terms.drain_grace)
        self.streams.drain()
        await self.reaper.stop()
        return ended

    async def close(self) -> bool:
        """Drains, then closes everything. Whether all code has ended: where it has not, only the end of the process
        ends it."""
        if self._state == "new":
            return True
        ended = await self.drain()
        ended = await self._host.close(0.0 if not ended else self._terms.drain_grace) and ended
        await self._hints.close()
        await self.storage.close()
        self._state = "closed"
        return ended
