"""The event stream under a watch over SSE; two, while a new one takes over. No input and output in here.

What a stream tells is fixed when it is opened, and a new subscription is to be told the run under way from its
beginning. So a new stream is opened that tells everything that anybody wants, and the subscriptions of the old one move
to it once it has told nothing that they have not had: until then the old one stays.
"""

from dataclasses import replace
from typing import Any

from ap_client.call import Call
from ap_client.exceptions import CommandError
from ap_client.filters import in_order
from ap_client.inbox import Inbox
from ap_client.operations.streaming import open_thread_sse_stream
from ap_client.subscription import SILENCE_SECONDS
from ap_client.thread_events import LAST, Missed, Position, read_event, said
from ap_client.watch import FOR_ITSELF, Watch


class Leg:
    """One event stream, over as many connections as it takes."""

    def __init__(self, inboxes: list[Inbox[Any]], channels: tuple[str, ...], since: int | None) -> None:
        self.inboxes = inboxes
        self.channels = channels
        self.cursor = since
        self.position: Position | None = None if since is None else (since, LAST)
        self.last_event_id: str | None = None
        self.opened = False
        self.nameless = False
        self.silent = True

    def suits(self, inbox: Inbox[Any]) -> bool:
        """Whether it will tell a new subscription all that it wants: it has told nothing yet."""
        told = {"custom" if "custom" in self.channels else each for each in inbox.filter.channels if ":" in each}
        told |= {each for each in inbox.filter.channels if ":" not in each}
        return self.silent and self.cursor == inbox.since and told <= set(self.channels)


class Legs:
    """The event streams of a watch, oldest first."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.legs: list[Leg] = []

    def fresh(self) -> list[Leg]:
        """New streams for the subscriptions that have none; one for the watch itself where there is none at all."""
        by_since: dict[int | None, list[Inbox[Any]]] = {}
        for inbox in self._watch.take_pending():
            if self.legs and self.legs[-1].suits(inbox):
                inbox.joins()
                self.legs[-1].inboxes.append(inbox)
            else:
                by_since.setdefault(inbox.since, []).append(inbox)
        if not by_since and not self.legs:
            by_since[self._watch.since] = []
        made = [Leg(inboxes, self._channels(), since) for since, inboxes in by_since.items()]
        self.legs += made
        return made

    def request(self, leg: Leg) -> Call[str]:
        """What to send for a stream now: everything behind what it has told."""
        body: dict[str, Any] = {"channels": list(leg.channels)}
        if self._watch.depth is not None:
            body["depth"] = self._watch.depth
        headers: dict[str, str] = {"Accept": "text/event-stream"}
        if leg.cursor is not None:
            body["since"] = leg.cursor
        elif leg.last_event_id is not None:
            headers["Last-Event-ID"] = leg.last_event_id
        else:
            for inbox in leg.inboxes:
                inbox.joins()
        call = open_thread_sse_stream(
            self._watch.thread_id, body, _request_timeout=(10.0, SILENCE_SECONDS), _headers=headers
        )
        return replace(call, idempotent=True)

    def opened(self, leg: Leg) -> list[Leg]:
        """A stream is there: those that are not needed any more."""
        leg.opened = True
        return self._retire()

    def told(self, leg: Leg, frame: Any) -> list[Leg]:
        """A frame of a stream: the streams that are not needed any more.

        Raises CommandError where the server says that the stream is broken.
        """
        if said(frame, "type") == "error":
            raise CommandError(str(said(frame, "error")), str(said(frame, "message")), frame)
        event = read_event(frame)
        if event is None or leg not in self.legs:
            return []
        leg.silent = False
        if isinstance(event, Missed):
            for inbox in leg.inboxes:
                inbox.missed(event)
            if event.last is not None:
                self._note(leg, (event.last, LAST), event.last, None)
            return []
        self._watch.hear(event)
        for inbox in leg.inboxes:
            inbox.offer(event)
        if not event.is_snapshot:
            self._note(leg, event.position, event.seq, event.event_id)
        return self._retire()

    def failed(self, leg: Leg, error: Exception) -> None:
        """A stream cannot be had."""
        self.legs.remove(leg)
        for inbox in leg.inboxes:
            inbox.fail(error)

    def _note(self, leg: Leg, position: Position | None, seq: int | None, event_id: str | None) -> None:
        if seq is not None and (leg.cursor is None or seq > leg.cursor):
            leg.cursor = seq
        leg.last_event_id = event_id or leg.last_event_id
        if position is None:
            leg.nameless = True
        elif leg.position is None or position > leg.position:
            leg.position = position

    def _retire(self) -> list[Leg]:
        newest = self.legs[-1]
        retired: list[Leg] = []
        for leg in self.legs[:-1] if newest.opened else ():
            leg.inboxes = [inbox for inbox in leg.inboxes if inbox.live]
            if not leg.inboxes or newest.nameless or _caught_up(leg, newest):
                newest.inboxes += leg.inboxes
                retired.append(leg)
        self.legs = [leg for leg in self.legs if leg not in retired]
        return retired

    def _channels(self) -> tuple[str, ...]:
        found: list[str] = [*FOR_ITSELF.channels]
        for inbox in self._watch.inboxes:
            found += inbox.filter.channels if inbox.live else ()
        return in_order(found)


def _caught_up(leg: Leg, newest: Leg) -> bool:
    """Whether all that the newest stream has told, and that the other one's readers want, they have had."""
    return leg.position is not None and newest.position is not None and leg.position >= newest.position
