"""Whose turn it is when there are fewer places than runs: whoever came first, whatever its agent and its thread."""

from __future__ import annotations

import asyncio
from typing import Any

from live_server import Starter, play

from runyard import Context, agent


class Doors:
    """Agents whose runs begin in an order that is written down, and end when they are let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.open: set[int] = set()
        self.agents = [self._made(agent_id) for agent_id in ("first", "second")]

    def _made(self, agent_id: str) -> Any:
        @agent(id=agent_id)
        async def waits(input: int, ctx: Context) -> None:
            self.begun.append(input)
            while input not in self.open:
                await asyncio.sleep(0.001)

        return waits


def test_a_run_that_is_created_while_others_wait_goes_behind_them(server: Starter) -> None:
    """A place becomes free while a claim is on its way: it is for those who wait, not for who comes by."""

    async def story() -> None:
        doors = Doors()
        async with server(*doors.agents, max_runs=2) as s:
            for number in range(2):
                await s.run(agent_id="first", input=number)
            await s.until(lambda: len(doors.begun) == 2)
            for number in range(2, 4):
                await s.run(agent_id="first", input=number)
            claim, claiming, goes_on = s.storage.claim, asyncio.Event(), asyncio.Event()

            async def slowly(*arguments: Any) -> Any:
                claiming.set()
                await goes_on.wait()
                return await claim(*arguments)

            s.storage.claim = slowly  # type: ignore[method-assign]
            doors.open.add(0)
            await claiming.wait()
            doors.open.add(1)
            await s.until(lambda: s.app.engine.worker.executing == 0)
            await s.run(agent_id="first", input=4)
            s.storage.claim = claim  # type: ignore[method-assign]
            goes_on.set()
            await s.until(lambda: len(doors.begun) == 4)
            assert set(doors.begun) == {0, 1, 2, 3}
            doors.open.update({2, 3, 4})

    play(story())


def test_an_agent_with_a_long_line_does_not_keep_others_waiting(server: Starter) -> None:
    async def story() -> None:
        doors = Doors()
        async with server(*doors.agents, max_runs=1) as s:
            for number in range(9):
                await s.run(agent_id="second" if number == 4 else "first", input=number)
                await s.until(lambda: doors.begun != [])
            for number in range(9):
                await s.until(lambda: len(doors.begun) > number)  # noqa: B023
                doors.open.add(number)
            assert doors.begun == list(range(9))

    play(story())
