"""Searches of runs, threads and namespaces, and what of a filter is found by an index."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import msgspec

from runyard.agents import contains
from runyard.checkpoints import State, render, shown
from runyard.items import Namespace, NamespaceQuery, namespace_matches
from runyard.runs import Run, RunFilter
from runyard.storage.verbs import states
from runyard.storage.verbs.rows import namespace_of, namespace_value, run_of, thread_of
from runyard.storage.verbs.transaction import Reads
from runyard.threads import Thread, ThreadFilter

LABEL_LENGTH = 200
"""Characters of a text in metadata, and of its name, that is found by index, as the triggers on runs and threads have
it."""

_encode = msgspec.json.Encoder().encode

FEW = 200
"""Threads whose runs are looked up thread by thread, where only theirs are to be found."""
PAGE = 200
"""Threads per step of a search by values: such a search folds the state of each candidate."""


def _thread_search(owner: str, query: ThreadFilter) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {
        "owner": owner,
        "status": query.status,
        "metadata": None if query.metadata is None else _encode(query.metadata),
    }
    if query.ids is not None or not query.in_order:
        ids = None if query.ids is None else _encode(query.ids).decode()
        order = query.sort_by if query.descending else f"{query.sort_by} up"
        return "search_threads_sorted", {**values, "ids": ids, "sort": order}
    label = _label(query.metadata)
    if label is not None:
        return "search_threads_labelled", {**values, "name": label[0], "value": label[1]}
    return "search_threads", values


async def count_threads(reader: Reads, owner: str, query: ThreadFilter) -> int:
    if query.values is None:
        _, values = _thread_search(owner, msgspec.structs.replace(query, sort_by="thread_id"))
        del values["sort"]
        return (await reader.one("count_threads", values))[0]
    every = msgspec.structs.replace(query, limit=2**53, offset=0)
    return len(await search_threads(reader, owner, every))


async def search_threads(reader: Reads, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
    name, values = _thread_search(owner, query)
    if query.values is None:
        rows = await reader.all(name, {**values, "limit": query.limit, "offset": query.offset})
        return [(thread, await _head(reader, thread)) for thread in map(thread_of, rows)]
    found: list[tuple[Thread, State]] = []
    skipped = offset = 0
    while len(found) < query.limit:
        rows = await reader.all(name, {**values, "limit": PAGE, "offset": offset})
        for thread in map(thread_of, rows):
            state = await _head(reader, thread)
            if contains(msgspec.json.decode(render(shown(state))), query.values):
                skipped += 1
                if skipped > query.offset:
                    found.append((thread, state))
        if len(rows) < PAGE:
            break
        offset += PAGE
    return found[: query.limit]


async def _head(reader: Reads, thread: Thread) -> State:
    return {} if thread.head is None else await states.state_of(reader, thread.head)


async def search_runs(reader: Reads, owner: str, query: RunFilter) -> list[Run]:
    name, values = _run_search(owner, query)
    label = _label(query.within) if name in ("search_runs", "search_runs_of_agent") else None
    if label is not None:
        # Those of somebody who has few threads may be far behind everybody else's.
        named = {"owner": owner, "name": label[0], "value": label[1], "limit": FEW + 1}
        few = await reader.all("labelled_threads", named)
        if len(few) <= FEW:
            threads = _encode([id for (id,) in few]).decode()
            name, values = "search_runs_of_threads", {**values, "agent_id": query.agent_id, "threads": threads}
    return [run_of(row) for row in await reader.all(name, values)]


def _run_search(owner: str, query: RunFilter) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {
        "owner": owner,
        "statuses": None if query.statuses is None else _encode(query.statuses).decode(),
        "outcomes": None if query.outcomes is None else _encode(query.outcomes).decode(),
        "metadata": None if query.metadata is None else _encode(query.metadata),
        "within": None if query.within is None else _encode(query.within),
        "limit": query.limit,
        "offset": query.offset,
    }
    label = _label(query.metadata)
    if query.thread_id is None and label is not None:
        return "search_runs_labelled", {**values, "agent_id": query.agent_id, "name": label[0], "value": label[1]}
    if query.thread_id is not None:
        return "search_runs_of_thread", {**values, "thread_id": query.thread_id, "agent_id": query.agent_id}
    if query.agent_id is not None:
        return "search_runs_of_agent", {**values, "agent_id": query.agent_id}
    if query.statuses is not None and len(query.statuses) == 1 and query.statuses[0] != "success":
        del values["statuses"]
        return "search_runs_of_status", {**values, "status": query.statuses[0]}
    return "search_runs", values


def _label(metadata: dict[str, Any] | None) -> tuple[str, str] | None:
    """The first text of a filter, by which what it asks for can be found; longer ones have no label."""
    for name, value in (metadata or {}).items():
        if isinstance(value, str) and max(len(name), len(value)) <= LABEL_LENGTH and "\0" not in name + value:
            return name, value
    return None


async def namespaces(reader: Reads, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
    found: set[Namespace] = set()
    named = tuple(takewhile(lambda label: label != "*", query.prefix))
    above = namespace_value(named)
    beyond = above + b"\xff"  # no label begins with this byte: it is none of UTF-8
    within = None if query.within is None else _encode(query.within)
    if await _alive(reader, owner, above, now, within) and namespace_matches(named, query):
        found.add(named if query.max_depth is None else named[: query.max_depth])
    while (row := await reader.one("next_namespace", (owner, above, beyond))) is not None:
        above = row[0]
        namespace = namespace_of(above)
        if not namespace_matches(namespace, query) or not await _alive(reader, owner, above, now, within):
            continue
        found.add(namespace if query.max_depth is None else namespace[: query.max_depth])
    return sorted(found)[query.offset : query.offset + query.limit]


async def _alive(reader: Reads, owner: str, namespace: bytes, now: int, within: bytes | None) -> bool:
    if within is None:
        return await reader.one("alive_in_namespace", (owner, namespace, now)) is not None
    values = {"owner": owner, "namespace": namespace, "now": now, "within": within}
    return await reader.one("alive_in_namespace_within", values) is not None
