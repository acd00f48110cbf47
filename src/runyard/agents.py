"""Agents: what can be run. Data that workers publish and API servers validate against."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from runyard.errors import agent_not_found


class Schemas(msgspec.Struct, frozen=True):
    """JSON Schemas of an agent; `{}` accepts anything."""

    input: dict[str, Any] = {}
    output: dict[str, Any] = {}
    state: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class Retry(msgspec.Struct, frozen=True):
    """When an agent's own exception leads to another attempt.

    `on` holds class names (`"TimeoutError"`, or with module `"httpx.ReadTimeout"`); subclasses count.
    The n-th wait is `min(initial * factor ** (n - 1), longest)` seconds, times a random part of [1 - jitter, 1].
    """

    on: tuple[str, ...] = ()
    initial: float = 1.0
    factor: float = 2.0
    longest: float = 60.0
    jitter: float = 0.5

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after the attempt of that number (from 1); `chance` in [0, 1) is the caller's dice."""
        wait = min(self.initial * self.factor ** (attempt - 1), self.longest)
        return wait * (1 - self.jitter * chance)


class Limits(msgspec.Struct, frozen=True):
    """What bounds an agent: seconds of wall clock per attempt, attempts per run, executing runs per cluster."""

    timeout: float | None = None
    max_attempts: int = 3
    concurrency: int | None = None
    retry: Retry = Retry()


class Agent(msgspec.Struct, frozen=True):
    """An agent as published: plain data, no code."""

    agent_id: str
    name: str
    description: str | None = None
    metadata: dict[str, Any] = {}
    schemas: Schemas = Schemas()
    limits: Limits = Limits()
    messages: bool = False
    """Whether the agent reads or writes the `messages` channel (capability `ap.io.messages`)."""
    injects: bool = False
    """Whether its code takes messages that are put into a run while it executes (capability `runyard.inject`)."""
    graph: bool = False
    """Whether it is a graph of named nodes: only then `command.goto`, `interrupt_before`, `interrupt_after`,
    `durability`, `context`, `stream_subgraphs` and the modes `tasks`, `checkpoints` and `debug` mean something."""
    nodes: tuple[str, ...] = ()
    """The names of a graph's nodes."""
    version: str = ""
    """Changes when the agent's code changes."""

    @property
    def capabilities(self) -> dict[str, Any]:
        """The Agent Protocol's capabilities, in its reverse-domain names."""
        injects = {"runyard.inject": True} if self.injects else {}
        return {"ap.io.messages": self.messages, "ap.io.streaming": True, **injects}


def choose(agent_id: str | None, default: str | None, known: dict[str, Agent]) -> Agent:
    """The agent that a request means.

    Without `agent_id` it is the configured default, or the only agent there is.

    Raises:
        NotFound: `agent_not_found`, naming the agents that exist.
    """
    wanted = agent_id if agent_id is not None else default
    if wanted is None and len(known) == 1:
        return next(iter(known.values()))
    if wanted is None or wanted not in known:
        raise agent_not_found(wanted, sorted(known))
    return known[wanted]


def matches(agent: Agent, name: str | None, metadata: dict[str, Any] | None) -> bool:
    """Whether an agent fits a search: case-insensitive part of the name, and metadata contained."""
    if name is not None and name.lower() not in agent.name.lower():
        return False
    return metadata is None or contains(agent.metadata, metadata)


def both(one: Any, other: Any) -> Any:
    """The pattern that is contained where both are.

    Raises:
        ValueError: no document contains both.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        patterns = cast("dict[str, Any]", one)
        more = cast("dict[str, Any]", other)
        return patterns | {key: both(patterns[key], value) if key in patterns else value for key, value in more.items()}
    if isinstance(one, list) and isinstance(other, list):
        return [*cast("list[Any]", one), *cast("list[Any]", other)]
    if isinstance(one, dict | list) or isinstance(other, dict | list) or not contains(one, other):
        raise ValueError("nothing contains both")
    return one


def contains(document: Any, pattern: Any) -> bool:
    """Recursive containment: every key of `pattern` is in `document` with a value that contains it; lists: each
    element of the pattern is contained in some element of the document; anything else: equal."""
    if isinstance(pattern, dict):
        wanted = cast("dict[str, Any]", pattern)
        return isinstance(document, dict) and all(
            key in document and contains(document[key], value) for key, value in wanted.items()
        )
    if isinstance(pattern, list):
        elements = cast("list[Any]", document) if isinstance(document, list) else []
        return isinstance(document, list) and all(
            any(contains(element, value) for element in elements) for value in cast("list[Any]", pattern)
        )
    if isinstance(pattern, bool) or isinstance(document, bool):
        return pattern is document
    return document == pattern
