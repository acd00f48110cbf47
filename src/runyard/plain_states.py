"""States of a thread as clients of LangGraph's API see them, told without the code of an agent: what they hold, and
what they ask. Where there is an open question, that is what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from runyard.checkpoints import Asked, Checkpoint, Snapshot, Source, render, shown
from runyard.runtime.chores import CheckpointName, InterruptView, StateView, TaskView
from runyard.storage.contract import Storage
from runyard.threads import Thread

PAGE = 20
"""States per read of a history."""
_SOURCES: dict[Source, str] = {"step": "loop", "interrupt": "loop"}
"""Our words for where a state comes from that are not LangGraph's."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class PlainStates:
    """Those of one thread. Of a `graph`, the checkpoint of a question stands for the graph's own below it."""

    def __init__(self, storage: Storage, thread: Thread, *, graph: bool) -> None:
        self._storage = storage
        self._thread = thread
        self._graph = graph

    async def state(self, snapshot: Snapshot) -> StateView:
        """One of them."""
        return self._view(snapshot, await self._built_on(snapshot.checkpoint, {}))

    async def history(
        self, limit: int, before: str | None, namespace: str, metadata: dict[str, Any]
    ) -> list[StateView]:
        """Newest first, those whose metadata contain these; `before` is exclusive. Raises `NotFound`."""
        found: list[StateView] = []
        stood_for: set[str | None] = set()
        while len(found) < limit:
            page = await self._storage.history(
                self._thread.owner, self._thread.thread_id, before=before, limit=PAGE, namespace=namespace
            )
            near = {one.checkpoint.checkpoint_id: one.checkpoint for one in page}
            for one in page:
                if self._stands_in(one.checkpoint):
                    stood_for.add(one.checkpoint.parent_id)
                if one.checkpoint.checkpoint_id in stood_for:
                    continue
                view = self._view(one, await self._built_on(one.checkpoint, near))
                if metadata.items() <= _decode(view.metadata).items():
                    found.append(view)
            if len(page) < PAGE:
                break
            before = page[-1].checkpoint.checkpoint_id
        return found[:limit]

    def _view(self, snapshot: Snapshot, built_on: str | None) -> StateView:
        checkpoint = snapshot.checkpoint
        asked = open_question(self._thread, snapshot)
        questions = [] if asked is None else [InterruptView(one.id, one.value) for one in asked.questions]
        source = _SOURCES.get(checkpoint.source, checkpoint.source)
        about = {"source": source, "step": checkpoint.step, "run_id": checkpoint.run_id}
        return StateView(
            values=Raw(render(shown(snapshot.state))),
            next=[] if asked is None else [asked.agent_id],
            tasks=[] if asked is None else [TaskView(asked.invocation, asked.agent_id, interrupts=questions)],
            metadata=Raw(_encode(about)),
            created_at=datetime.fromtimestamp(checkpoint.created_at / 1e6, UTC).isoformat(timespec="microseconds"),
            checkpoint=name_of(self._thread, checkpoint.checkpoint_id),
            parent_checkpoint=None if built_on is None else name_of(self._thread, built_on),
            interrupts=questions,
        )

    def _stands_in(self, checkpoint: Checkpoint) -> bool:
        return self._graph and checkpoint.source == "interrupt"

    async def _built_on(self, checkpoint: Checkpoint, near: Mapping[str, Checkpoint]) -> str | None:
        """The checkpoint before, as a history tells it."""
        while checkpoint.parent_id is not None and self._stands_in(checkpoint):
            below = near.get(checkpoint.parent_id)
            if below is None:
                found = await self._storage.snapshot(self._thread.owner, self._thread.thread_id, checkpoint.parent_id)
                below = found.checkpoint
            checkpoint = below
        return checkpoint.parent_id


def open_question(thread: Thread, snapshot: Snapshot | None) -> Asked | None:
    """What a state of the thread asks: only its head can."""
    if snapshot is None or not thread.asking or snapshot.checkpoint.checkpoint_id != thread.head:
        return None
    return snapshot.checkpoint.asked


def name_of(thread: Thread, checkpoint_id: str) -> CheckpointName:
    """The name of a checkpoint of a thread's own states."""
    return CheckpointName(thread.thread_id, checkpoint_id=checkpoint_id)
