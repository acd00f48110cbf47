"""What the code of an invocation did before: its records, looked up as the code does it again.

Code that waits for one call after another does the same calls in the same order, and is held to it: at each call the
oldest record that was not used must be that call's. Code with concurrent parts (`asyncio.gather`) may do them in
another order each time; there a call is looked up by its kind, name and number, and what carries a payload also by
that, and only the end shows whether a record was left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runyard.runtime.contract import Record, RecordKind
from runyard.runtime.signals import Nondeterministic

Key = tuple[RecordKind, str, int]
WITHIN = "\x01"
"""Ends each part of a record's name that says within which step or sub-agent it was made."""


class Journal:
    """The records of an invocation that its code has still to come by, and the numbers of its next calls."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._left: dict[Key, Record] = {}
        self._highest: dict[tuple[RecordKind, str], int] = {}
        self._used: dict[tuple[RecordKind, str], int] = {}
        self._emitted: dict[str, int] = {}
        self._takes: dict[Key, Record] = {}
        """Apart from the others: what comes from outside is often taken beside what the code does else."""
        self._looked: dict[str, int] = {}
        self._within: dict[str, list[Key]] = {}
        self._entered: set[str] = set()
        for record in sorted(records, key=lambda record: record.order):
            if record.kind == "emit":
                self._emitted[record.name] = max(record.nth, self._emitted.get(record.name, 0))
            elif record.kind == "look":
                self._looked[record.name] = max(record.nth, self._looked.get(record.name, 0))
            elif record.kind == "take":
                self._takes[record.kind, record.name, record.nth] = record
                self._note_place(record)
            else:
                self._left[record.kind, record.name, record.nth] = record
                self._note_place(record)
                self._highest[record.kind, record.name] = record.nth
        self.ordered = True
        """Whether calls come one after another; false once they came from more than one task."""
        self._detour = False
        """Whether a step that failed before has succeeded now: steps and sub-agents that made up for it may stay
        unused."""

    @property
    def exhausted(self) -> bool:
        """Whether all records have been used, but for those that only count."""
        return not self._left and not self._takes

    def emits(self, name: str) -> int | None:
        """The number of a new emit; None when an earlier attempt did this one."""
        nth = self._count("emit", name)
        return nth if nth > self._emitted.get(name, 0) else None

    def number(self, kind: RecordKind, name: str) -> int:
        """The number of the next call of that kind and name."""
        return self._count(kind, name)

    def give_back(self, kind: RecordKind, name: str, nth: int) -> None:
        """Takes back the number of a call that failed: doing it again is the same call."""
        if self._used[kind, name] == nth:
            self._used[kind, name] = nth - 1

    def peek(self, kind: RecordKind, name: str, nth: int) -> Record | None:
        """The record of a call, if there is one that was not used; it stays unused."""
        return self._left.get((kind, name, nth))

    def enter(self, within: str) -> None:
        """Says that the code is within a step or a sub-agent now."""
        if self._left:
            self._entered.add(within)

    def skip(self, within: str) -> list[Record]:
        """Uses up the records of all calls that were made within a step; in their order."""
        keys = self._within.pop(within, ())
        records = (self._left.pop(key, None) or self._takes.pop(key, None) for key in keys)
        return [record for record in records if record is not None]

    def find(self, kind: RecordKind, name: str, nth: int) -> Record | None:
        """The record of a call, which is then used; None for a call that was not done before.

        A step without a record may come at any time: it failed before, or had not ended when the attempt did.

        Raises:
            Nondeterministic: another call should come here.
        """
        record = self._left.pop((kind, name, nth), None)
        if self._left and self.ordered and (record is not None or kind != "step"):
            # dict keeps the order of insertion, which is that of the records.
            expected = next(iter(self._left.values()))
            if record is None or expected.order < record.order:
                raise Nondeterministic(
                    f"the agent's code now calls {_called(kind, name, nth)} where it recorded "
                    f"{_called(expected.kind, expected.name, expected.nth)} before; "
                    "code that is entered again must do the same calls in the same order"
                )
        return record

    def taking(self, name: str, *, waits: bool) -> tuple[bool, Record | None]:
        """Whether the next taking of messages was done before, and what it took, if it took any. One that `waits`
        passes over those that took nothing."""
        while True:
            nth = self._used.get(("take", name), 0) + 1
            record = self._takes.pop(("take", name, nth), None)
            if record is None and nth > self._looked.get(name, 0):
                return False, None
            self._used["take", name] = nth
            if record is not None or not waits:
                return True, record

    def succeeded(self) -> None:
        """Says that a step without a record has been done."""
        if self._left:
            self.ordered = False
            self._detour = True

    def match(self, kind: RecordKind, name: str, payload: str) -> tuple[int, Record | None]:
        """The number of a call that carries a payload with that fingerprint, and its record if it was done before.

        The body of such a record begins with the fingerprint.

        Raises:
            Nondeterministic: another call, or another payload, should come here.
        """
        nth = self._count(kind, name)
        candidate = self._left.get((kind, name, nth))
        if not self.ordered and (candidate is None or not _carries(candidate, payload)):
            for key, record in self._left.items():
                if key[:2] == (kind, name) and _carries(record, payload):
                    return key[2], self._left.pop(key)
            if nth <= self._highest.get((kind, name), 0):
                nth = self._highest[kind, name] = self._highest[kind, name] + 1
            return nth, None
        record = self.find(kind, name, nth)
        if record is not None and not _carries(record, payload):
            raise Nondeterministic(
                f"{_called(kind, name, nth)} has another payload than the one it recorded before; "
                "values that change from attempt to attempt must come from ctx.step"
            )
        return nth, record

    def finish(self, how: str) -> None:
        """Says that the code has ended, or asks.

        Raises:
            Nondeterministic: there are records of calls that it did not do this time.
        """
        left = next((r for r in self._left.values() if not (self._detour and self._may_make_up(r))), None)
        if left is not None:
            raise Nondeterministic(
                f"the agent's code {how} without calling {_called(left.kind, left.name, left.nth)}, "
                f"which it recorded before ({len(self._left)} records are left)"
            )

    def _note_place(self, record: Record) -> None:
        for within in _places(record.name):
            self._within.setdefault(within, []).append((record.kind, record.name, record.nth))

    def _may_make_up(self, record: Record) -> bool:
        return record.kind in ("step", "agent") or any(at not in self._entered for at in _places(record.name))

    def _count(self, kind: RecordKind, name: str) -> int:
        nth = self._used[kind, name] = self._used.get((kind, name), 0) + 1
        return nth


def _places(name: str) -> Iterator[str]:
    """Within what a call was made, from the outside in."""
    at = name.find(WITHIN)
    while at >= 0:
        yield name[: at + 1]
        at = name.find(WITHIN, at + 1)


def _carries(record: Record, payload: str) -> bool:
    return record.body.startswith(b'{"of":"' + payload.encode() + b'"')


def _called(kind: RecordKind, name: str, nth: int) -> str:
    *within, name = name.split(WITHIN)
    what = f"{kind} {name!r}" if name else kind
    if nth > 1:
        what = f"{what} (use {nth})"
    return f"{what} within {' > '.join(within)}" if within else what
