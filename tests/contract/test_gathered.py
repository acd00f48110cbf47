"""PostgreSQL: rows that many ask for at the same time come in one statement, each as it was after it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from runyard.errors import Unavailable
from runyard.storage.postgres.gathered import AT_ONCE, Gathered


class Finder:
    """Answers when it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.answers: list[asyncio.Future[dict[int, str]]] = []

    async def __call__(self, keys: Sequence[int]) -> dict[int, str]:
        self.asked.append([*keys])
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


def run(story: Callable[[Finder, Gathered[int, str]], Awaitable[None]], most: int = 10) -> None:
    async def whole() -> None:
        finder = Finder()
        await story(finder, Gathered(finder, most))

    asyncio.run(whole())


async def turns(count: int = 5) -> None:
    """Lets everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_those_who_ask_at_once_share_a_statement() -> None:
    async def story(finder: Finder, gathered: Gathered[int, str]) -> None:
        asking = [asyncio.ensure_future(gathered.ask(key)) for key in (1, 2, 1, 3)]
        await turns()
        assert finder.asked == [[1, 2, 3]]
        finder.answers[0].set_result({1: "one", 2: "two"})
        assert await asyncio.gather(*asking) == ["one", "two", "one", None]

    run(story)


def test_who_asks_later_gets_a_later_answer() -> None:
    async def story(finder: Finder, gathered: Gathered[int, str]) -> None:
        first = asyncio.ensure_future(gathered.ask(1))
        await turns()
        second = asyncio.ensure_future(gathered.ask(1))
        await turns()
        assert finder.asked == [[1], [1]]
        finder.answers[1].set_result({1: "new"})
        finder.answers[0].set_result({1: "old"})
        assert (await first, await second) == ("old", "new")

    run(story)


def test_what_is_asked_while_answers_are_on_their_way_is_asked_together() -> None:
    async def story(finder: Finder, gathered: Gathered[int, str]) -> None:
        asking: list[Any] = []
        for key in range(AT_ONCE + 7):
            asking.append(asyncio.ensure_future(gathered.ask(key)))
            await turns()
        assert finder.asked == [[key] for key in range(AT_ONCE)]
        finder.answers[0].set_result({0: "first"})
        await turns()
        assert finder.asked[AT_ONCE:] == [[*range(AT_ONCE, AT_ONCE + 5)]]
        for answer in finder.answers[1:]:
            answer.set_result({})
        await turns()
        finder.answers[-1].set_result({})
        assert (await asyncio.gather(*asking))[0] == "first"
        assert finder.asked[-1] == [AT_ONCE + 5, AT_ONCE + 6]

    run(story, most=5)


def test_what_cannot_be_found_is_told_to_all_who_asked_and_to_nobody_else() -> None:
    async def story(finder: Finder, gathered: Gathered[int, str]) -> None:
        asking = [asyncio.ensure_future(gathered.ask(1)) for _ in range(2)]
        await turns()
        finder.answers[0].set_exception(Unavailable("away"))
        assert [type(error) for error in await asyncio.gather(*asking, return_exceptions=True)] == [Unavailable] * 2
        again = asyncio.ensure_future(gathered.ask(1))
        await turns()
        finder.answers[1].set_result({1: "here"})
        assert await again == "here"

    run(story)


def test_who_gives_up_takes_nobody_along() -> None:
    async def story(finder: Finder, gathered: Gathered[int, str]) -> None:
        gone, stays = (asyncio.ensure_future(gathered.ask(1)) for _ in range(2))
        await turns()
        gone.cancel()
        await turns()
        finder.answers[0].set_result({1: "here"})
        assert await stays == "here"
        with pytest.raises(asyncio.CancelledError):
            await gone

    run(story)


@pytest.mark.parametrize("later", range(6))
def test_who_asks_at_the_moment_when_all_statements_come_back_is_answered(later: int) -> None:
    """In each turn of the loop around that one."""

    async def story(finder: Finder, gathered: Gathered[int, str]) -> None:
        asking: list[asyncio.Future[str | None]] = []
        for key in range(AT_ONCE):
            asking.append(asyncio.ensure_future(gathered.ask(key)))
            await turns()
        assert len(finder.asked) == AT_ONCE
        for answer in finder.answers:
            answer.set_result({})
        await turns(later)
        asking.append(asyncio.ensure_future(gathered.ask(99)))
        await turns()
        assert finder.asked[-1] == [99]
        finder.answers[-1].set_result({99: "late"})
        assert await asyncio.wait_for(asyncio.gather(*asking), 5) == [None] * AT_ONCE + ["late"]

    run(story)
