"""What a run costs that names its agent: its owner's default assistants are looked at now and then, not each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from live_server import MovableClock, Starter, play

from runyard import agent
from runyard.assistants import AssistantPatch, default_id
from runyard.catalog import RECHECK
from runyard.storage.contract import Storage


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"input": input}


def test_default_assistants_are_looked_at_now_and_then(
    server: Starter, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            catalog, looks = s.app.engine.catalog, list[str]()
            look = s.storage.assistants_among

            async def counted(owner: str, assistant_ids: Sequence[str]) -> set[str]:
                looks.append(owner)
                return await look(owner, assistant_ids)

            monkeypatch.setattr(s.storage, "assistants_among", counted)
            monkeypatch.setattr(s.storage, "assistant", unasked(s.storage))
            for owner in ("a", "b", "a", "b", "a"):
                assert (await catalog.find(owner, "echo")).assistant_id == default_id("echo")
            assert looks == ["a", "b"]
            clock.move(RECHECK)
            await catalog.find("a", "echo")
            assert looks == ["a", "b", "a"]
            monkeypatch.undo()
            await catalog.patch("a", "echo", AssistantPatch(name="Changed"))
            assert (await catalog.find("a", "echo")).name == "Changed"
            assert (await catalog.find("b", "echo")).name == "echo"
            await catalog.choose_version("a", "echo", 1)
            assert (await catalog.find("a", "echo")).name == "echo"

    def unasked(storage: Storage) -> Any:
        async def refuse(owner: str, assistant_id: str) -> None:
            raise AssertionError("a row is read that is not there")

        return refuse

    play(story())
