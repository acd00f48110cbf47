"""What is said over the one WebSocket under a watch. No input and output in here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ap_client.exceptions import CommandError
from ap_client.filters import Filter
from ap_client.inbox import Inbox, Unread
from ap_client.models.streaming_command import StreamingCommand
from ap_client.steering import Command, result_of
from ap_client.thread_events import Missed, read_event, said
from ap_client.watch import FOR_ITSELF, Watch


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a command of this number."""

    number: int
    frame: Any


class InBand:
    """The subscriptions of a watch on its socket, over as many connections as it takes."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        # The watch has one of its own, the first.
        self._own = Unread(Filter(FOR_ITSELF.channels, depth=watch.depth), watch.runs, since=watch.since)
        self._inboxes: list[Inbox[Any]] = [self._own]
        self._due: list[Inbox[Any]] = []
        self._asked: dict[int, Inbox[Any]] = {}
        self._ids: dict[Inbox[Any], list[str]] = {}
        self._number = 0

    def take(self) -> list[Inbox[Any]]:
        """The subscriptions that are new."""
        taken = self._watch.take_pending()
        self._inboxes += taken
        self._due += taken
        return taken

    def connected(self) -> None:
        """A connection is there: nothing has been said over it."""
        self._inboxes = [inbox for inbox in self._inboxes if inbox.live]
        self._due = list(self._inboxes)
        self._asked.clear()
        self._ids.clear()

    def subscribing(self) -> Iterator[StreamingCommand]:
        """What to say for the subscriptions that the connection does not have yet."""
        while self._due:
            inbox = self._due.pop(0)
            if not inbox.live:
                continue
            if inbox.since is None:
                inbox.joins()
            for each in self._filters(inbox.filter):
                params = each.to_wire() | ({} if inbox.since is None else {"since": inbox.since})
                command = self.numbered(Command("subscription.subscribe", params))
                self._asked[command.id] = inbox
                yield command

    def unsubscribing(self) -> Iterator[StreamingCommand]:
        """What to say for the subscriptions that are over."""
        for inbox in [each for each in self._ids if not each.live]:
            for subscription_id in self._ids.pop(inbox):
                yield self.numbered(Command("subscription.unsubscribe", {"subscriptionId": subscription_id}))

    def numbered(self, command: Command) -> StreamingCommand:
        """A command as it is sent."""
        self._number += 1
        return command.numbered(self._number)

    def is_attached(self, inbox: Inbox[Any]) -> bool:
        """Whether the server tells its events."""
        return inbox in self._ids

    def told(self, frame: Any) -> Answer | None:
        """A frame of the server; what is not for the subscriptions is an answer to a command.

        Raises CommandError where the server says that something is wrong with the whole.
        """
        kind, number = said(frame, "type"), said(frame, "id")
        if kind in ("success", "error"):
            if not isinstance(number, int):
                result_of(frame)
                return None
            inbox = self._asked.pop(number, None)
            if inbox is None:
                return Answer(number, frame)
            self._attach(inbox, frame)
            return None
        event = read_event(frame)
        if isinstance(event, Missed):
            for inbox in self._ids:
                if inbox.since is not None:
                    inbox.missed(event)
        elif event is not None:
            self._watch.hear(event)
            for inbox in self._ids:
                inbox.offer(event)
                if event.seq is not None:
                    inbox.passed(event.seq)
        return None

    def _attach(self, inbox: Inbox[Any], frame: Any) -> None:
        try:
            subscription_id = said(result_of(frame), "subscriptionId")
        except CommandError as error:
            if inbox is self._own:
                raise
            inbox.fail(error)
            return
        marked = said(said(frame, "meta"), "appliedThroughSeq")
        inbox.marked = marked if isinstance(marked, int) else None
        self._ids.setdefault(inbox, []).append(str(subscription_id))

    def _filters(self, wanted: Filter) -> Iterator[Filter]:
        """What a subscription asks for: its own events, and how the run stands."""
        depth = wanted.depth
        if self._watch.depth is not None and wanted.namespaces is None:
            depth = self._watch.depth if depth is None else min(depth, self._watch.depth)
        narrowed = Filter(wanted.channels, wanted.namespaces, depth)
        if wanted.reaches_root:
            yield narrowed.with_channels("lifecycle")
            return
        yield narrowed
        # Behind the other: the end of a run must not be told before what it ends.
        yield Filter(("lifecycle",), ((),), 0)
