"""What one subscription of a thread has got and has not yet handed on. No input and output in here."""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from ap_client.assembly import STREAMING, Assembler, MessageState
from ap_client.exceptions import SubscriptionOverrun
from ap_client.filters import Filter
from ap_client.seen import Seen
from ap_client.thread_events import LifecycleEvent, MessagesEvent, Missed, Position, ThreadEvent

E = TypeVar("E")


class Runs:
    """What is known of a thread's runs: where in its log they began and ended. The last ones are remembered."""

    def __init__(self, remembered: int = 256) -> None:
        self._remembered = remembered
        self._began: dict[str, Position | None] = {}
        self._ended: dict[str, Position | None] = {}

    def heard(self, event: LifecycleEvent) -> None:
        """The lifecycle of a run went on."""
        if event.run_id is None:
            return
        known = self._ended if event.is_end else self._began
        known.setdefault(event.run_id, event.position)
        if len(known) > self._remembered:
            del known[next(iter(known))]

    @property
    def known(self) -> frozenset[str]:
        """The runs that have been heard of."""
        return frozenset(self._began) | frozenset(self._ended)

    def began_at(self, run_id: str | None) -> Position | None:
        """Where it began, if that was heard."""
        return None if run_id is None else self._began.get(run_id)

    def ended_before(self, run_id: str | None, place: Position | None) -> bool:
        """Whether it is known to have ended before this place in the log."""
        ended = None if run_id is None else self._ended.get(run_id)
        return ended is not None and place is not None and ended < place

    def superseded(self, run_id: str | None) -> bool:
        """Whether it is known to have ended, and another to have begun behind it."""
        return any(self.ended_before(run_id, began) for began in self._began.values())


class RunToCome:
    """The run whose events a subscription is about; its id may come to be known later."""

    def __init__(self, run_id: str | None, others: frozenset[str] = frozenset()) -> None:
        self.run_id = run_id
        self._others = others

    def is_of(self, event: ThreadEvent) -> bool:
        """Whether the run tells it. What is told without a run's name counts as its own."""
        if event.run_id is None:
            return True
        if self.run_id is None and event.run_id not in self._others and event.position is not None:
            # The first that was not there when it was asked for.
            self.run_id = event.run_id
        return event.run_id == self.run_id


class Inbox(Generic[E]):
    """The events of one subscription, in the order of the log, each once.

    `wake` is called when something has changed for those who wait. `since` is the number of the entry behind which it
    begins; None is what the server gives to a reader that joins.
    """

    def __init__(
        self, wanted: Filter, runs: Runs, run: RunToCome | None = None, since: int | None = None, limit: int = 10_000
    ) -> None:
        self.filter = wanted
        self.run = run
        self.since = since
        self.items: deque[E | Missed] = deque()
        self.error: Exception | None = None
        self.ended = False
        self.wake: Callable[[], None] = _nothing
        self.marked: int | None = None
        self._runs = runs
        self._limit = limit
        self._seen = Seen()
        self._last_missed: Missed | None = None
        # The state to begin with comes once, to who has no cursor.
        self._begins = False

    @property
    def live(self) -> bool:
        """Whether anything more may come."""
        return not self.ended and self.error is None

    @property
    def half_full(self) -> bool:
        """Whether it would be well to let it be emptied before more comes."""
        return len(self.items) * 2 >= self._limit

    def joins(self) -> None:
        """It is about to join without a cursor: the state that it begins with comes first."""
        self._begins = True

    def offer(self, event: ThreadEvent) -> None:
        """An event of the thread, wanted or not."""
        of_root = isinstance(event, LifecycleEvent) and not event.namespace
        is_wanted = self.filter.matches(event)
        if not self.live or not (is_wanted or of_root):
            return
        if (event.is_snapshot and not self._begins) or not self._seen.add(event):
            return
        self._begins = False
        if event.seq is not None and (self.since is None or event.seq > self.since):
            self.since = event.seq
        if isinstance(event, LifecycleEvent) and of_root:
            self._heard(event)
        if self.live and is_wanted and (self.run is None or self.run.is_of(event)):
            self._put(event)
        if isinstance(event, LifecycleEvent) and of_root and event.is_end and self.run and self.run.is_of(event):
            self.end()
        self.wake()

    def passed(self, seq: int) -> None:
        """The log has been told up to here: what was wanted of it has been among it."""
        if self.marked is not None and seq > self.marked and (self.since is None or seq > self.since):
            self.since = seq

    def missed(self, missed: Missed) -> None:
        """Events that it may have wanted are gone."""
        told = missed.last is not None and self.since is not None and missed.last <= self.since
        if not self.live or told or missed == self._last_missed:
            return
        self._last_missed = missed
        if missed.last is not None:
            self.since = missed.last
        self.items.append(missed)
        self.wake()

    def end(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        self.ended = True
        self.wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes, because of this."""
        if self.live:
            self.error = error
            self.wake()

    def take(self) -> list[E | Missed]:
        """All that is there. Raises what it failed with when nothing is."""
        taken = list(self.items)
        self.items.clear()
        if not taken and self.error is not None:
            raise self.error
        return taken

    def _heard(self, event: LifecycleEvent) -> None:
        """The run of an event at the root began, went on or ended."""
        run = self.run
        if run is not None and not run.is_of(event) and self._runs.ended_before(run.run_id, event.position):
            # The log has gone on to another run: its own has been told.
            self.end()

    def _put(self, event: ThreadEvent) -> None:
        self._keep(cast("E", event))

    def _keep(self, item: E) -> None:
        if len(self.items) >= self._limit:
            self.fail(SubscriptionOverrun(self._limit))
            return
        self.items.append(item)


class MessageInbox(Inbox[MessageState]):
    """The messages of one subscription; each is there from its beginning, and grows."""

    def __init__(
        self, wanted: Filter, runs: Runs, run: RunToCome | None = None, since: int | None = None, limit: int = 10_000
    ) -> None:
        super().__init__(wanted, runs, run, since, limit)
        self._assembler = Assembler()

    def _put(self, event: ThreadEvent) -> None:
        if isinstance(event, MessagesEvent):
            begun = self._assembler.feed(event)
            if begun is not None:
                self._keep(begun)

    def _heard(self, event: LifecycleEvent) -> None:
        if event.event == "running" or event.is_end:
            # A further attempt tells its messages anew; an end leaves nothing to come.
            self._assembler.drop(event.run_id, before=event.position)
        super()._heard(event)

    def missed(self, missed: Missed) -> None:
        self._assembler.drop()
        super().missed(missed)

    def end(self) -> None:
        self._assembler.drop()
        super().end()


class Unread(Inbox[Any]):
    """A subscription whose events are for the watch itself."""

    def _put(self, event: ThreadEvent) -> None:
        pass


def is_growing(message: MessageState) -> bool:
    """Whether more of it may come."""
    return message.status == STREAMING


def _nothing() -> None:
    pass
