"""Watching a thread: its subscriptions, and what is known of its runs and questions. No input and output in here.

The functions make subscriptions; the two shells (`ap_client.thread_stream` and `ap_client.aio.thread_stream`) make
methods of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar
from uuid import uuid4

from ap_client.assembly import MessageState
from ap_client.call import Id
from ap_client.exceptions import ApiValueError, EventsMissed
from ap_client.filters import CHANNELS, Filter, Namespaces, wanted
from ap_client.inbox import Inbox, MessageInbox, Runs, RunToCome
from ap_client.seen import Seen
from ap_client.thread_events import (
    CheckpointEvent,
    CustomEvent,
    InputAnswered,
    InputRequested,
    LifecycleEvent,
    Missed,
    Position,
    ThreadEvent,
    ToolsEvent,
    UpdatesEvent,
    ValuesEvent,
)

E = TypeVar("E")

TRANSPORTS = ("sse", "websocket")
FOR_ITSELF = Filter(("lifecycle", "input"))
"""What is asked for in any case: how the runs stand, and what is asked."""

HELD = 10_000
"""So many events (or messages) a subscription holds that nobody has read."""


class Started(Enum):
    """Which run a subscription is about where none is named."""

    LAST = "the run that the stream has started last"

    def __repr__(self) -> str:
        return "LAST_STARTED"


LAST_STARTED: Final = Started.LAST

RunChoice = str | None | Started


@dataclass(frozen=True, slots=True)
class Asked:
    """An open question: its id, what it asks, where, and the run that asked it."""

    id: str
    payload: Any
    namespace: tuple[str, ...] = ()
    run_id: str | None = None

    def __hash__(self) -> int:
        # What is asked may be a dict.
        return hash(self.id)


class QuestionView:
    """An open question of a thread."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    @property
    def id(self) -> str:
        return self.asked.id

    @property
    def payload(self) -> Any:
        """What is asked, as the agent's code said it."""
        return self.asked.payload

    @property
    def namespace(self) -> tuple[str, ...]:
        """Where in the tree of agents it is asked; () is the root."""
        return self.asked.namespace

    @property
    def run_id(self) -> str | None:
        """The run that asked it."""
        return self.asked.run_id

    def __repr__(self) -> str:
        return f"<question {self.id}: {self.payload!r}>"


class Watch:
    """What is remembered of a thread that is watched, over all connections."""

    def __init__(
        self,
        thread_id: Id | None,
        agent_id: str | None,
        since: int | None,
        depth: int | None,
        held: int,
        on_missed: Callable[[Missed], object] | None,
    ) -> None:
        if held < 1:
            raise ApiValueError(f"held must be at least 1, not {held}", ["held"])
        self.thread_id = str(thread_id or uuid4())
        self.agent_id = agent_id
        self.since = since
        self.depth = depth
        self.runs = Runs()
        self.run: RunToCome | None = None
        self.questions: tuple[Asked, ...] = ()
        self.inboxes: list[Inbox[Any]] = []
        self.pending: list[Inbox[Any]] = []
        self.closed = False
        self._held = held
        self._on_missed = on_missed
        self._heard_at: Position | None = None
        self._seen = Seen()

    def subscribed(self, kind: type[Inbox[E]], filter: Filter, run_id: RunChoice) -> Inbox[E]:
        """A new subscription; a connection has to take it from `pending`. Raises ApiValueError when all is over."""
        if self.closed:
            raise ApiValueError("the stream is closed")
        run = self.run if isinstance(run_id, Started) else None if run_id is None else RunToCome(run_id)
        inbox = kind(filter, self.runs, run, self._begin(run), self._held)
        self.add(inbox)
        return inbox

    def add(self, inbox: Inbox[Any]) -> None:
        """A subscription that has been made."""
        self.inboxes = [each for each in self.inboxes if each.live]
        self.inboxes.append(inbox)
        self.pending.append(inbox)

    def take_pending(self) -> list[Inbox[Any]]:
        """The subscriptions that no connection has taken yet."""
        taken, self.pending = [each for each in self.pending if each.live], []
        return taken

    def hear(self, event: ThreadEvent) -> None:
        """An event of the thread, from whatever connection: what it says of runs and questions."""
        if not isinstance(event, LifecycleEvent | InputRequested | InputAnswered):
            return
        place = event.position
        if place is None:
            if not self._seen.add(event):
                return
        elif self._heard_at is not None and place <= self._heard_at:
            # Told again, or by a connection that is behind: the later state holds.
            return
        else:
            self._heard_at = place
        if isinstance(event, InputRequested):
            asked = Asked(event.interrupt_id, event.payload, event.namespace, event.run_id)
            self.questions = (*(each for each in self.questions if each.id != asked.id), asked)
        elif isinstance(event, InputAnswered):
            self.questions = tuple(each for each in self.questions if each.id not in event.interrupt_ids)
        elif not event.namespace:
            self.runs.heard(event)
            if event.event == "started":
                # A thread whose question is open executes no other run.
                self.questions = tuple(each for each in self.questions if each.run_id == event.run_id is not None)

    def met(self, missed: Missed) -> None:
        """A reader has come to where events are missing. Raises EventsMissed unless somebody is to be told."""
        if self._on_missed is None:
            raise EventsMissed(missed)
        self._on_missed(missed)

    @property
    def crowded(self) -> bool:
        """Whether a subscription holds so much that it should be read first."""
        return any(inbox.half_full for inbox in self.inboxes if inbox.live)

    def end(self) -> None:
        """Nobody watches any more."""
        self.closed = True
        for inbox in self.inboxes:
            inbox.end()

    def fail(self, error: Exception) -> None:
        """It cannot be watched any more."""
        for inbox in self.inboxes:
            inbox.fail(error)

    def _begin(self, run: RunToCome | None) -> int | None:
        if self.since is not None:
            return self.since
        began = None if run is None else self.runs.began_at(run.run_id)
        if run is None or began is None or not self.runs.superseded(run.run_id):
            return None
        # Who joins is told of the newest run; this one is older.
        return began[0] - 1


def subscribe(
    watch: Watch,
    channels: Iterable[str] | str,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[ThreadEvent]:
    """The events of some channels (values, updates, messages, tools, lifecycle, input, checkpoints, tasks, custom,
    `custom:NAME`), one by one.

    `namespaces`: only what happens below these prefixes; a segment without `:` stands for all of that name. `depth`:
    how far below, or below the root. `run_id`: what this run tells, until it has ended; None: what any run tells,
    until the stream is closed. Not given, it is about the run that the stream has started last, and about any run
    where it has started none. So start first, then subscribe: nothing is missed, and the iteration ends with the run.

    It begins with the current state (on `values`), and the events of the run under way from its first one on; where
    none is under way, of the newest run.

    Raises ApiValueError for a channel that there is not.
    """
    return watch.subscribed(Inbox[ThreadEvent], wanted(channels, namespaces, depth), run_id)


def events(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[ThreadEvent]:
    """The events of all channels but tasks. See `subscribe`."""
    channels = [channel for channel in CHANNELS if channel != "tasks"]
    return watch.subscribed(Inbox[ThreadEvent], wanted(channels, namespaces, depth), run_id)


def messages(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[MessageState]:
    """The messages, each as soon as it begins. See `subscribe`."""
    return watch.subscribed(MessageInbox, wanted("messages", namespaces, depth), run_id)


def values(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[ValuesEvent]:
    """The whole state, now and after each step. See `subscribe`."""
    return watch.subscribed(Inbox[ValuesEvent], wanted("values", namespaces, depth), run_id)


def updates(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[UpdatesEvent]:
    """What each step changed. See `subscribe`."""
    return watch.subscribed(Inbox[UpdatesEvent], wanted("updates", namespaces, depth), run_id)


def tools(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[ToolsEvent]:
    """The calls of tools: their beginnings, outputs and ends. See `subscribe`."""
    return watch.subscribed(Inbox[ToolsEvent], wanted("tools", namespaces, depth), run_id)


def lifecycle(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[LifecycleEvent]:
    """The beginnings and ends of runs and of what is below them. See `subscribe`."""
    return watch.subscribed(Inbox[LifecycleEvent], wanted("lifecycle", namespaces, depth), run_id)


def inputs(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[InputRequested | InputAnswered]:
    """Questions as they are asked and answered. See `subscribe`."""
    return watch.subscribed(Inbox[InputRequested | InputAnswered], wanted("input", namespaces, depth), run_id)


def checkpoints(
    watch: Watch,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[CheckpointEvent]:
    """The states as they are saved: their ids and where they come from. See `subscribe`."""
    return watch.subscribed(Inbox[CheckpointEvent], wanted("checkpoints", namespaces, depth), run_id)


def custom(
    watch: Watch,
    name: str | None = None,
    namespaces: Namespaces | None = None,
    depth: int | None = None,
    *,
    run_id: RunChoice = LAST_STARTED,
) -> Inbox[CustomEvent]:
    """What the agent's code tells of its own, all of it or what has this name. See `subscribe`."""
    channel = "custom" if name is None else f"custom:{name}"
    return watch.subscribed(Inbox[CustomEvent], wanted(channel, namespaces, depth), run_id)
