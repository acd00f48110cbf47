"""Assistants: an agent with a configuration of its own, in versions. Each agent has a default one, without any.

Data and pure rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

from runyard.agents import Agent, contains

NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Of the ids of default assistants: clients find those that they know from LangGraph Platform."""

SortBy = Literal["assistant_id", "agent_id", "name", "created_at", "updated_at"]
IfExists = Literal["raise", "do_nothing"]

BY_SYSTEM = {"created_by": "system"}
"""By which people tell default assistants from their own."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Assistant(msgspec.Struct, frozen=True):
    """An assistant as one of its versions has it. `metadata`, `config` and `context` are the JSON text of objects.
    Times are microseconds since the epoch."""

    assistant_id: str
    owner: str
    agent_id: str
    version: int
    created_at: int
    """Of an entry in the list of versions: when that version was made."""
    updated_at: int
    name: str
    description: str | None = None
    metadata: bytes = b"{}"
    config: bytes = b"{}"
    context: bytes = b"{}"


class AssistantPatch(msgspec.Struct, frozen=True):
    """What a new version has of its own; what is None stays as it was. `metadata` is merged into what there is."""

    agent_id: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class AssistantFilter(msgspec.Struct, frozen=True):
    """What a search for assistants asks for: `name` is a part of the name in any case, `metadata` is contained
    recursively."""

    agent_id: str | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None
    sort_by: SortBy = "created_at"
    descending: bool = True
    limit: int = 10
    offset: int = 0


class VersionFilter(msgspec.Struct, frozen=True):
    """Which versions of an assistant to list, newest first."""

    metadata: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0


def default_id(agent_id: str) -> str:
    """The id of an agent's default assistant."""
    return str(uuid5(NAMESPACE, agent_id))


def default_of(agent: Agent, owner: str, published_at: int) -> Assistant:
    """An agent's default assistant, as it is until its owner changes it."""
    return Assistant(
        assistant_id=default_id(agent.agent_id), owner=owner, agent_id=agent.agent_id, version=1,
        created_at=published_at, updated_at=published_at, name=agent.name, description=agent.description,
        metadata=_encode({**agent.metadata, **BY_SYSTEM}),
    )  # fmt: skip


def changed(assistant: Assistant, patch: AssistantPatch, version: int, now: int) -> Assistant:
    """The new version that a patch makes of an assistant."""
    metadata = assistant.metadata
    if patch.metadata is not None:
        metadata = _encode({**_decode(metadata), **patch.metadata})
    return msgspec.structs.replace(
        assistant,
        version=version,
        updated_at=now,
        agent_id=assistant.agent_id if patch.agent_id is None else patch.agent_id,
        name=assistant.name if patch.name is None else patch.name,
        description=assistant.description if patch.description is None else patch.description,
        metadata=metadata,
        config=assistant.config if patch.config is None else _encode(patch.config),
        context=assistant.context if patch.context is None else _encode(patch.context),
    )


def folded(name: str) -> str:
    """A name as it is compared, whatever its case."""
    return name.casefold()


def matches(assistant: Assistant, query: AssistantFilter) -> bool:
    """Whether an assistant is one of those that a search asks for; as databases decide it, too."""
    return (
        query.agent_id in (None, assistant.agent_id)
        and (query.name is None or folded(query.name) in folded(assistant.name))
        and (query.metadata is None or contains(_decode(assistant.metadata), query.metadata))
    )


def ordered(assistants: Iterable[Assistant], query: AssistantFilter) -> list[Assistant]:
    """In the order that a search asks for, which is that of databases: equal ones by their ids, upwards."""
    by_id = sorted(assistants, key=lambda assistant: assistant.assistant_id)
    return sorted(by_id, key=lambda assistant: getattr(assistant, query.sort_by), reverse=query.descending)
