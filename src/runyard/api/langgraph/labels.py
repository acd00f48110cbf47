"""What a thread's metadata say of whose runs it has: clients look for threads by `graph_id` and `assistant_id`."""

from __future__ import annotations

from typing import Any

import msgspec

from runyard.api.context import ApiContext
from runyard.errors import NotFound


def of(agent_id: str, assistant_id: str) -> dict[str, Any]:
    """Both, as metadata of a thread: one that a run makes has them from the start."""
    return {"graph_id": agent_id, "assistant_id": assistant_id}


async def put(api: ApiContext, owner: str, thread_id: str, agent_id: str, assistant_id: str) -> None:
    """Notes both on a thread, where they are not there yet."""
    labels = of(agent_id, assistant_id)
    try:
        thread = await api.storage.thread(owner, thread_id)
        known = msgspec.json.decode(thread.metadata, type=dict[str, Any])
        if not labels.items() <= known.items():
            await api.storage.patch_thread(owner, thread_id, api.verbs.clock.now(), metadata=labels)
    except NotFound:
        pass  # it was deleted since
