"""Graphs: what a request may ask of an agent that is a graph of named nodes, and of no other. Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from runyard.agents import Agent
from runyard.errors import InvalidInput, Unsupported
from runyard.events import EXTRA_MODES
from runyard.runs import Command, Request

_UNSET = msgspec.UNSET
_FIELDS = ("context", "interrupt_before", "interrupt_after", "durability")
TRACE_PROJECT, TRACE_EXAMPLE = "__langsmith_project__", "__langsmith_example_id__"
"""Keys of `config.configurable` that say of a run's trace in LangSmith where it goes and what it is of."""


def check_request(request: Request, agent: Agent) -> None:
    """Refuses what the agent could not obey.

    Raises:
        Unsupported: a field that only means something to graphs, for an agent that is none.
        InvalidInput: a node that the graph does not have, or input beside a command.
    """
    if not agent.graph:
        _refuse(request, agent)
        return
    for field in ("interrupt_before", "interrupt_after"):
        nodes: list[str] | str | msgspec.UnsetType = getattr(request, field)
        if isinstance(nodes, list):
            for index, node in enumerate(nodes):
                _check_node(f"{field}[{index}]", node, agent)
    command = request.command
    if command is _UNSET:
        return
    if command.goto is not _UNSET:
        _check_goto(msgspec.json.decode(command.goto), agent)
    _check_alone(request, command)


def modes_of(request: Request) -> Sequence[str]:
    """The stream modes that a request names; none where it leaves them open."""
    asked = request.stream_mode
    return () if asked is _UNSET else (asked,) if isinstance(asked, str) else asked


def check_recorded(request: Request, modes: Sequence[str]) -> None:
    """Refuses to show what was not recorded.

    Raises:
        InvalidInput: a mode of `EXTRA_MODES` that the run was not created with.
    """
    for mode in modes:
        if mode in EXTRA_MODES and mode not in modes_of(request):
            raise InvalidInput(
                f"stream_mode {mode!r} was not recorded: only runs of graphs that are created with it in stream_mode "
                "have its events",
                field="stream_mode",
            )


def _refuse(request: Request, agent: Agent) -> None:
    asked = [field for field in _FIELDS if getattr(request, field) is not _UNSET]
    if request.command is not _UNSET and request.command.goto is not _UNSET:
        asked.append("command.goto")
    asked += [f"stream_mode {mode!r}" for mode in modes_of(request) if mode in EXTRA_MODES]
    if asked:
        raise Unsupported(
            f"{asked[0]}: agent {agent.agent_id!r} is no graph of named nodes; leave it out",
            field=asked[0].split()[0],
            agent_id=agent.agent_id,
        )


def _check_node(field: str, node: Any, agent: Agent) -> None:
    if not isinstance(node, str) or (agent.nodes and node not in agent.nodes):
        raise InvalidInput(
            f"{field} is {str(node)[:80]!r}: graph {agent.agent_id!r} has no such node; "
            f"allowed: {', '.join(agent.nodes)}",
            field=field,
            agent_id=agent.agent_id,
        )


def _check_goto(goto: Any, agent: Agent) -> None:
    many = isinstance(goto, list)
    for index, target in enumerate(cast("list[Any]", goto) if many else [goto]):
        field = f"command.goto[{index}]" if many else "command.goto"
        if isinstance(target, dict):
            send = cast("dict[str, Any]", target)
            unknown = sorted(send.keys() - {"node", "input"})
            if unknown:
                raise InvalidInput(
                    f"{field}.{unknown[0]} is unknown; allowed: node, input", field=f"{field}.{unknown[0]}"
                )
            _check_node(f"{field}.node", send.get("node"), agent)
        else:
            _check_node(field, target, agent)


def _check_alone(request: Request, command: Command) -> None:
    given = request.input is not _UNSET and bytes(request.input) != b"null"
    for field, there in (("input", given), ("messages", request.messages is not _UNSET)):
        if there:
            raise InvalidInput(
                f"{field} and command cannot be sent together to a graph: it takes one or the other", field=field
            )
