"""The agents that other servers publish: read at the start, at a hint, and now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from runyard import schemas
from runyard.agents import Agent
from runyard.clock import Clock
from runyard.errors import InvalidInput, RunyardError
from runyard.hints.contract import MISSED, Hints
from runyard.storage.contract import STORAGE_PATIENCE, Storage
from runyard.telemetry import Telemetry

REREAD = 10.0
"""Seconds after which they are read again."""

_decode = msgspec.json.Decoder().decode


class RemoteAgent:
    """An agent whose code is elsewhere. Requests are held to its schemas; its worker judges them again."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def check_input(self, input: bytes | None) -> None:
        """Raises `InvalidInput`."""
        if input is not None and not (self.agent.graph and input == b"null"):
            schemas.check(_decode(input), self.agent.schemas.input, "input")

    def check_config(self, configurable: dict[str, Any]) -> None:
        """Raises `InvalidInput`."""
        if self.agent.schemas.config is not None:
            schemas.check(configurable, self.agent.schemas.config, "config.configurable")

    def check_context(self, context: dict[str, Any]) -> None:
        """Raises `InvalidInput`."""
        if self.agent.schemas.context is None:
            raise InvalidInput(f"agent {self.agent.agent_id!r} takes no context; leave the field out", field="context")
        schemas.check(context, self.agent.schemas.context, "context")


class Directory:
    """Reads what is published, and hands it to `learn`."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        hints: Hints,
        telemetry: Telemetry,
        learn: Callable[[Sequence[Agent]], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._hints = hints
        self._telemetry = telemetry
        self._learn = learn
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def read_once(self) -> None:
        self._changed.clear()
        self._learn(await self._storage.agents())

    async def start(self) -> None:
        """Reads them, and goes on reading."""
        for topic in ("agents", MISSED):
            self._hints.subscribe(topic, lambda _: self._changed.set())
        await self.read_once()
        self._loop = asyncio.get_running_loop().create_task(self._read_for_ever())

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _read_for_ever(self) -> None:
        while True:
            sleeping = asyncio.ensure_future(self._clock.sleep(REREAD))
            hinted = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait((sleeping, hinted), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                hinted.cancel()
            try:
                await self.read_once()
            except RunyardError as error:
                self._telemetry.tell("agents not read", why=error.message)
                await self._clock.sleep(STORAGE_PATIENCE)
