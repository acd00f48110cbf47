"""A thread's runs as they can be drawn: who does what below whom, put together from the thread's events. No output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ap_client.assembly import Assembler, MessageState
from ap_client.thread_events import (
    CustomEvent,
    InputAnswered,
    InputRequested,
    LifecycleEvent,
    MessagesEvent,
    ToolsEvent,
    ValuesEvent,
)

if TYPE_CHECKING:
    from ap_client.thread_events import ThreadEvent

Namespace = tuple[str, ...]


@dataclass
class ToolCall:
    """A tool while it is called, and after."""

    id: str
    name: str
    input: Any = None
    output: Any = None
    error: str | None = None
    pieces: list[str] = field(default_factory=list[str])
    done: bool = False


@dataclass
class Notice:
    """What the code told of its own."""

    name: str
    payload: Any


@dataclass
class Question:
    """What a human is asked."""

    id: str
    payload: Any
    answered: bool = False


Item: TypeAlias = "MessageState | ToolCall | Notice | Question | Branch"


@dataclass
class Branch:
    """A run, or an agent below it: what it did, in order."""

    name: str
    namespace: Namespace = ()
    status: str = "started"
    error: str | None = None
    items: list[Item] = field(default_factory=list["Item"])

    def walk(self) -> Iterator[Branch]:
        """It, and all below it."""
        yield self
        for item in self.items:
            if isinstance(item, Branch):
                yield from item.walk()


class Scene:
    """One run of a thread. `take` its events; `state` is the thread's as far as it was told."""

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self.root = Branch("run")
        self.attempt = 0
        self.state: Any = None
        self._branches: dict[Namespace, Branch] = {(): self.root}
        self._messages = Assembler()
        self._calls: dict[tuple[Namespace, str], ToolCall] = {}

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.root.status in ("completed", "failed", "interrupted")

    def take(self, event: ThreadEvent) -> Item | None:
        """What an event is about: a thing that is new, or has changed; None where there is nothing to see."""
        match event:
            case LifecycleEvent():
                return self._lifecycle(event)
            case MessagesEvent():
                return self._message(event)
            case ToolsEvent():
                return self._tool(event)
            case CustomEvent():
                return self._add(event.namespace, Notice(event.name or "custom", event.payload))
            case InputRequested():
                return self._add(event.namespace, Question(event.interrupt_id, event.payload))
            case InputAnswered():
                for branch in self.root.walk():
                    for item in branch.items:
                        if isinstance(item, Question) and item.id in event.interrupt_ids:
                            item.answered = True
            case ValuesEvent() if not event.namespace:
                self.state = event.values
            case _:
                pass
        return None

    def _lifecycle(self, event: LifecycleEvent) -> Branch:
        branch = self._branch(event.namespace, event.graph_name)
        branch.status, branch.error = event.event, event.error
        if not event.namespace and event.event == "running":
            self.attempt += 1
            if self.attempt > 1:
                self._messages.drop()
        return branch

    def _message(self, event: MessagesEvent) -> MessageState | None:
        new = self._messages.feed(event)
        if new is not None:
            self._add(event.namespace, new)
        return new

    def _tool(self, event: ToolsEvent) -> ToolCall:
        key = event.namespace, event.tool_call_id or ""
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = ToolCall(key[1], event.tool_name or "tool", event.input)
            self._add(event.namespace, call)
        match event.event:
            case "tool-output-delta":
                call.pieces.append(event.delta or "")
            case "tool-finished":
                call.output, call.done = event.output, True
            case "tool-error":
                call.error, call.done = event.message or "failed", True
            case _:
                pass
        return call

    def _add(self, namespace: Namespace, item: Item) -> Item:
        self._branch(namespace).items.append(item)
        return item

    def _branch(self, namespace: Namespace, name: str | None = None) -> Branch:
        branch = self._branches.get(namespace)
        if branch is None:
            branch = Branch(name or namespace[-1].partition(":")[0], namespace)
            self._branches[namespace] = branch
            self._branch(namespace[:-1]).items.append(branch)
        elif name is not None:
            branch.name = name
        return branch
