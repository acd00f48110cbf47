"""The clients of the kill story. Each uses the server its own way, and keeps a journal of what it was promised.

What a client was told it believes: an answered request is a promise. `check` holds the server to it when the dust has
settled; some promises are held to on the way.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import ap_client.aio
from ap_client import Configuration

from chaos.caller import PAUSE_S, Answer, Caller
from chaos.report import Broken


@dataclass
class Journal:
    """What all clients were promised: the run behind each key, and how it must have ended (None: some way)."""

    runs: dict[str, str] = field(default_factory=dict[str, str])
    expected: dict[str, str | None] = field(default_factory=dict[str, str | None])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    threads: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Thread -> the notes of the runs that were accepted on it, in their order."""
    items: dict[str, int] = field(default_factory=dict[str, int])
    followed: int = 0
    lost_on_purpose: int = 0

    def accepted(self, key: str, answer: Answer, *, ends: str | None = "success", values: Any = None) -> str:
        """A creation was answered: the same run for the same key, always.

        Raises:
            Broken: it was another run.
        """
        if answer.status != 200:
            raise Broken(f"creating with key {key} was answered {answer.status} {answer.body}")
        run = answer.body.get("run", answer.body)
        run_id: str = run["run_id"]
        if self.runs.setdefault(key, run_id) != run_id:
            raise Broken(f"key {key} gave run {self.runs[key]}, and then {run_id}")
        self.expected[run_id] = ends
        if values is not None:
            self.values[run_id] = values
        return run_id


class Clients:
    """A crowd of clients of one server, busy until `stop` is set."""

    def __init__(self, caller: Caller, dice: Random, steps_journal: Path) -> None:
        self.journal = Journal()
        self.stop = asyncio.Event()
        self.caller = caller
        self._dice = dice
        self.steps = steps_journal
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._seen_steps: dict[str, dict[int, int]] = {}

    async def work(self, each: int, *, reconnects: bool = True) -> None:
        """So many clients of each kind, until they are stopped and have got all their answers. `reconnects`: whether
        there are those that stay with one server, over its restarts."""
        kinds: list[Callable[[], Any]] = [
            self._wait, self._walk, self._lose_answers, self._note, self._follow, self._ask, self._cancel, self._put,
        ]  # fmt: skip
        if reconnects:
            kinds.append(self._follow_with_client)
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                for _ in range(each):
                    group.create_task(kind())

    def _key(self, kind: str) -> str:
        self._numbers[kind] += 1
        return f"{kind}-{self._numbers[kind]}"

    async def _rest(self, longest: float) -> None:
        await asyncio.sleep(self._dice.random() * longest)

    # the kinds

    async def _wait(self) -> None:
        """Creates stateless runs and waits for their output."""
        while not self.stop.is_set():
            key = self._key("wait")
            body = {"agent_id": "echo", "input": key, "on_disconnect": "continue"}
            answer = await self.caller.call("POST", "/runs/wait", body, key=key)
            self.journal.accepted(key, answer, values={"echo": key})
            if answer.body["values"] != {"echo": key}:
                raise Broken(f"the run of {key} answered {answer.body}")
            await self._rest(0.05)

    async def _walk(self) -> None:
        """Creates background runs that take steps, and watches some of them."""
        while not self.stop.is_set():
            key = self._key("walk")
            run_id = self.journal.accepted(key, await self._create(key, self._walking(key)))
            if self._dice.random() < 0.5:
                await self._watch_steps(key, run_id)
            else:
                await self._rest(0.3)

    async def _lose_answers(self) -> None:
        """Creates with a key, does not hear the answer, and creates again."""
        while not self.stop.is_set():
            key = self._key("lost")
            body = self._walking(key)
            for _ in range(self._dice.randrange(1, 3)):
                await self.caller.lose("/runs", body, key=key)
                self.journal.lost_on_purpose += 1
                await self._rest(0.05)
            self.journal.accepted(key, await self._create(key, body))
            await self._rest(0.2)

    async def _note(self) -> None:
        """Queues runs on a thread of its own."""
        thread_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        await self.caller.call("POST", "/threads", {"thread_id": thread_id, "if_exists": "do_nothing"})
        notes = self.journal.threads[thread_id] = []
        while not self.stop.is_set():
            for _ in range(self._dice.randrange(1, 5)):
                key = self._key("note")
                body = {"agent_id": "note", "input": key, "thread_id": thread_id, "multitask_strategy": "enqueue"}
                self.journal.accepted(key, await self._create(key, body))
                notes.append(key)
            await self._rest(0.3)

    async def _follow(self) -> None:
        """Follows runs from their first event to their last, over every crash."""
        while not self.stop.is_set():
            key, count = self._key("talk"), self._dice.randrange(20, 120)
            body = {"agent_id": "talk", "input": {"count": count, "pause": 0.01}, "stream_mode": "custom"}
            run_id = self.journal.accepted(key, await self._create(key, body))
            events = await self.caller.events(run_id)
            whole_and_in_order(run_id, count, events)
            self.journal.followed += 1

    async def _follow_with_client(self) -> None:
        """The same through the iterator of `ap_client`, which reconnects by itself."""
        async with ap_client.aio.ApiClient(Configuration(host=self.caller.url)) as client:
            runs = ap_client.aio.BackgroundRunsApi(client)
            while not self.stop.is_set():
                key, count = self._key("iter"), self._dice.randrange(20, 120)
                body = {"agent_id": "talk", "input": {"count": count, "pause": 0.01}, "stream_mode": "custom"}
                run_id = self.journal.accepted(key, await self._create(key, body))
                events: list[tuple[int, str, Any]] = []
                async with await _opened(runs, run_id) as stream:
                    async for event in stream:
                        events.append((int(event.id or 0), event.event, event.data))
                whole_and_in_order(run_id, count, events)
                self.journal.followed += 1

    async def _ask(self) -> None:
        """Creates runs that ask, and answers them."""
        while not self.stop.is_set():
            key = self._key("ask")
            thread_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
            body = {"agent_id": "ask", "input": key, "thread_id": thread_id, "if_not_exists": "create"}
            run_id = self.journal.accepted(key, await self._create(key, body), ends="interrupted")
            asked = await self.caller.call("GET", f"/runs/{run_id}/wait")
            if [question["value"] for question in asked.body["interrupts"]] != [{"question": key}]:
                raise Broken(f"run {run_id} asks {asked.body}")
            reply = self._key("reply")
            resume = {"agent_id": "ask", "thread_id": thread_id, "command": {"resume": reply}}
            resumed = self.journal.accepted(
                reply, await self._create(reply, resume), values={"asked": key, "answer": reply}
            )
            done = await self.caller.call("GET", f"/runs/{resumed}/wait")
            if done.body["values"] != {"asked": key, "answer": reply}:
                raise Broken(f"run {resumed} was answered {reply}, and gave {done.body}")
            await self._rest(0.1)

    async def _cancel(self) -> None:
        """Cancels runs that would go on for ever."""
        while not self.stop.is_set():
            key = self._key("hold")
            run_id = self.journal.accepted(key, await self._create(key, {"agent_id": "hold"}), ends="interrupted")
            await self._rest(0.2)
            answer = await self.caller.call("POST", f"/runs/{run_id}/cancel?wait={int(self._dice.random() < 0.5)}")
            if answer.status != 204:
                raise Broken(f"cancelling {run_id} was answered {answer.status} {answer.body}")
            await self._rest(0.1)

    async def _put(self) -> None:
        """Counts up in an item."""
        name, number = self._key("item"), 0
        while not self.stop.is_set():
            number += 1
            body = {"namespace": ["counters"], "key": name, "value": {"number": number}}
            answer = await self.caller.call("PUT", "/store/items", body)
            if answer.status != 204:
                raise Broken(f"putting {name} was answered {answer.status} {answer.body}")
            self.journal.items[name] = number
            await self._rest(0.1)

    # what they share

    def _walking(self, key: str) -> dict[str, Any]:
        steps = self._dice.randrange(2, 12)
        return {
            "agent_id": "walk",
            "input": {
                "key": key, "steps": steps, "pause": self._dice.random() * 0.08, "journal": str(self.steps),
            },
            "stream_mode": "custom",
        }  # fmt: skip

    async def _create(self, key: str, body: dict[str, Any]) -> Answer:
        return await self.caller.call("POST", "/runs", body, key=key)

    async def _watch_steps(self, key: str, run_id: str) -> None:
        events = await self.caller.events(run_id)
        steps = [data["payload"]["step"] for _, name, data in events if name == "custom"]
        if steps != sorted(set(steps)):
            raise Broken(f"run {run_id} showed the steps {steps}")


async def _opened(runs: ap_client.aio.BackgroundRunsApi, run_id: str) -> Any:
    """The iterator. What it does by itself begins with its first answer."""
    while True:
        try:
            return await runs.stream_run_events(run_id, modes=["custom"])
        except ap_client.ApiException:
            await asyncio.sleep(PAUSE_S)


def whole_and_in_order(run_id: str, count: int, events: list[tuple[int, str, Any]]) -> None:
    """Holds a followed run to its promise: every event once, in order, then its end.

    Raises:
        Broken: an event was missing, came twice or out of order.
    """
    numbers = [data["payload"]["number"] for _, name, data in events if name == "custom"]
    ids = [number for number, _, _ in events if number]
    attempts = [data["attempt"] for _, name, data in events if name == "metadata"]
    ends = [data["status"] for _, name, data in events if name == "end"]
    if numbers != list(range(count)) or ids != sorted(set(ids)) or ends != ["success"]:
        raise Broken(f"run {run_id} was to say 0 to {count - 1} and succeed; a follower saw {events}")
    if attempts != sorted(attempts):
        raise Broken(f"run {run_id} showed its attempts as {attempts}")
