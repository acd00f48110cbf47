"""The verbs of assistants and their versions, each inside one transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from runyard.assistants import Assistant, AssistantFilter, AssistantPatch, VersionFilter, changed, folded
from runyard.errors import NotFound, assistant_exists, assistant_not_found
from runyard.storage.verbs.transaction import Reads, Transaction

_encode = msgspec.json.Encoder().encode


async def create_assistant(t: Transaction, assistant: Assistant, if_exists: str) -> Assistant:
    if not await _insert(t, assistant):
        if if_exists == "raise":
            raise assistant_exists(assistant.assistant_id)
        return await found_assistant(t, assistant.owner, assistant.assistant_id)
    return assistant


async def _insert(t: Transaction, assistant: Assistant) -> bool:
    values = (
        assistant.owner, assistant.assistant_id, assistant.version, assistant.created_at, assistant.updated_at,
    )  # fmt: skip
    if await t.one("insert_assistant", values) is None:
        return False
    await _insert_version(t, assistant)
    return True


async def _insert_version(t: Transaction, assistant: Assistant) -> None:
    await t.run(
        "insert_assistant_version",
        (
            assistant.owner, assistant.assistant_id, assistant.version, assistant.agent_id, assistant.updated_at,
            assistant.name, folded(assistant.name), assistant.description, assistant.metadata, assistant.config,
            assistant.context,
        ),
    )  # fmt: skip


async def patch_assistant(
    t: Transaction, owner: str, assistant_id: str, patch: AssistantPatch, now: int, default: Assistant | None
) -> Assistant:
    if default is not None:
        await _insert(t, default)
    assistant = await found_assistant(t, owner, assistant_id)
    (last,) = await t.one("last_assistant_version", (owner, assistant_id))
    new = changed(assistant, patch, last + 1, now)
    await _insert_version(t, new)
    await t.one("set_assistant_version", (new.version, now, owner, assistant_id))
    return new


async def choose_version(
    t: Transaction, owner: str, assistant_id: str, version: int, now: int, default: Assistant | None
) -> Assistant:
    if default is not None:
        await _insert(t, default)
    if await t.one("set_assistant_version", (version, now, owner, assistant_id)) is None:
        await found_assistant(t, owner, assistant_id)
        raise NotFound(
            f"assistant {assistant_id} has no version {version}",
            code="assistant_version_not_found",
            assistant_id=assistant_id,
            version=version,
        )
    return await found_assistant(t, owner, assistant_id)


async def delete_assistant(t: Transaction, owner: str, assistant_id: str) -> None:
    if await t.one("delete_assistant", (owner, assistant_id)) is None:
        raise assistant_not_found(assistant_id)
    await t.run("delete_assistant_versions", (owner, assistant_id))
    await t.run("delete_crons_of_assistant", (owner, assistant_id))


async def found_assistant(t: Reads, owner: str, assistant_id: str) -> Assistant:
    """Raises `NotFound`."""
    row = await t.one("assistant", (owner, assistant_id))
    if row is None:
        raise assistant_not_found(assistant_id)
    return Assistant(*row)


async def search_assistants(t: Reads, owner: str, query: AssistantFilter) -> list[Assistant]:
    values = {
        **_asked(owner, query), "sort_by": query.sort_by, "descending": query.descending, "limit": query.limit,
        "offset": query.offset,
    }  # fmt: skip
    return [Assistant(*row) for row in await t.all("search_assistants", values)]


async def count_assistants(t: Reads, owner: str, query: AssistantFilter) -> int:
    return (await t.one("count_assistants", _asked(owner, query)))[0]


def _asked(owner: str, query: AssistantFilter) -> dict[str, Any]:
    return {
        "owner": owner,
        "agent_id": query.agent_id,
        "name": None if query.name is None else folded(query.name),
        "metadata": None if query.metadata is None else _encode(query.metadata),
    }


async def assistant_versions(t: Reads, owner: str, assistant_id: str, query: VersionFilter) -> list[Assistant]:
    values = {
        "owner": owner, "assistant_id": assistant_id, "limit": query.limit, "offset": query.offset,
        "metadata": None if query.metadata is None else _encode(query.metadata),
    }  # fmt: skip
    return [Assistant(*row) for row in await t.all("assistant_versions", values)]
