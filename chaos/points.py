"""Crash points: scripts on a disk that fails at a seeded call, or loses its power there.

A point opens a database on such a disk and plays a few scripts side by side, so that their verbs share commits. While
the disk fails, a verb is refused, nothing of it is seen, and it is done again until the disk is mended: as the engine
does. At the end, or in the middle, the power goes. What is found afterwards has to be what was acknowledged, with the
verbs that were being done there as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from chaos.disk import CALL_OF, Call, Disk, Fault, Kind
from chaos.report import Broken, Progress, Rows, silent
from chaos.scripts import Script, View, look, play, rehearse
from runyard.errors import StorageError, Unavailable
from runyard.storage.sqlite import SqliteStorage, connection, wal

DECK = 12
"""Scripts that are rehearsed together; each point plays a few of them."""
LENGTH = 25
"""Verbs of a script."""
POINTS_PER_DECK = 100

_KINDS: dict[Kind | None, int] = {
    None: 4, "full": 5, "short": 4, "io": 4, "fsync": 5, "read": 4, "read_only": 2, "truncate": 1, "size": 2, "open": 2,
}  # fmt: skip
"""How often each fault comes; None: only the power is cut."""


@dataclass
class Tally:
    """What a number of points has met."""

    points: int = 0
    refused: int = 0
    acknowledged: int = 0
    undecided: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])


def run(*, seed: int, points: int, progress: Progress = silent) -> Rows:
    """Plays the points of so many seeds, from the first one on.

    Raises:
        Broken: a point found a broken promise.
    """
    with tempfile.TemporaryDirectory(prefix="runyard-points-", dir=_fast_folder()) as folder:
        tally = asyncio.run(_run(range(seed, seed + points), Path(folder), progress))
    faults = ", ".join(f"{kind} {count}" for kind, count in tally.faults.most_common())
    return [
        ("crash points", f"{tally.points:,}"),
        ("faults", faults),
        ("power cuts", f"{tally.points:,}"),
        ("verbs acknowledged, all found again", f"{tally.acknowledged:,}"),
        ("verbs refused, none seen, done again", f"{tally.refused:,}"),
        ("verbs cut short and found whole", f"{tally.undecided:,}"),
        ("first seed", str(seed)),
    ]


def _fast_folder() -> str | None:
    """In memory where there is such a place: what is synced is decided here, not by the machine."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


async def _run(seeds: range, folder: Path, progress: Progress) -> Tally:
    tally = Tally()
    deck: _Deck | None = None
    for seed in seeds:
        if deck is None or deck.number != seed // POINTS_PER_DECK:
            deck = await _Deck.rehearsed(seed // POINTS_PER_DECK, folder)
        place = folder / f"point-{seed}"
        place.mkdir()
        try:
            with _as_if_large():
                await asyncio.wait_for(_Point(seed, deck, place, tally).happen(), 60)
        except Exception as error:
            raise Broken(
                f"crash point {seed}: {type(error).__name__}: {error}\n"
                f"again: make chaos ARGS='points --seed {seed} --points 1'"
            ) from error
        shutil.rmtree(place)
        tally.points += 1
        progress(f"points: {tally.points} of {len(seeds)}")
    return tally


@contextmanager
def _as_if_large() -> Generator[None]:
    """As if there were much more data: the WAL is folded into the file after a few pages instead of a thousand, and so
    little is kept in memory that verbs have to read the disk, and to write to it before their commit."""
    with (
        mock.patch.object(wal, "PAGES_PASSIVE", 20),
        mock.patch.object(wal, "PAGES_RESTART", 120),
        mock.patch.object(connection, "CACHE_KIB", 40),
    ):
        yield


@dataclass
class _Deck:
    number: int
    scripts: list[Script]
    calls: dict[Call, int]
    """How many calls of each kind a point makes of a sound disk, about."""

    @staticmethod
    async def rehearsed(number: int, folder: Path) -> _Deck:
        dice = Random(number)
        place = folder / f"deck-{number}"
        storage = SqliteStorage(place / "rehearsal.db")
        await storage.open()
        scripts = [await rehearse(storage, f"s{n}", dice, LENGTH) for n in range(DECK)]
        await storage.close()
        deck = _Deck(number, scripts, {})
        with _as_if_large():
            point = _Point(-1 - number, deck, place, Tally())
            await point.calm()
        deck.calls = dict(point.disk.calls)
        shutil.rmtree(place)
        return deck


class _Player:
    """One script on its way. `done` verbs of it are acknowledged."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.done = 0
        self.trying = False


class _Point:
    """One database, one disk, one fault."""

    def __init__(self, seed: int, deck: _Deck, place: Path, tally: Tally) -> None:
        self._dice = Random(seed)
        self._deck = deck
        self._place = place
        self._tally = tally
        self.disk = Disk(f"faulty-{seed}", Random(seed))
        self._players = [_Player(script) for script in self._dice.sample(deck.scripts, self._dice.randrange(2, 6))]
        self._patience = 0
        self._storage = SqliteStorage(place / "live" / "runyard.db", vfs=self.disk.name)

    async def calm(self) -> None:
        """Nothing fails."""
        try:
            await self._storage.open()
            await asyncio.gather(*map(self._play, self._players))
            await self._storage.close()
        finally:
            self.disk.close()

    async def happen(self) -> None:
        try:
            self._plan()
            if await self._open():
                await asyncio.gather(*map(self._play, self._players))
                await self._storage.close()
            await self._check_after_cut()
            if not self.disk.dead:
                await self._check(self._place / "live" / "runyard.db")
        finally:
            self.disk.close()

    def _plan(self) -> None:
        kind = self._dice.choices([*_KINDS], [*_KINDS.values()])[0]
        faults: list[Fault] = []
        if kind is not None:
            calls = self._deck.calls[CALL_OF[kind]]
            times = self._dice.choice((1, 2, None))
            self._patience = self._dice.randrange(1, 12)
            faults.append(Fault(kind, self._dice.randrange(1, max(2, calls)), times))
        if kind is None or self._dice.random() < 0.5:
            if self._dice.random() < 0.5:
                faults.append(Fault("cut", self._dice.randrange(1, self._deck.calls["sync"]), on="sync"))
            else:
                calls = self._deck.calls["write"] + self._deck.calls["sync"]
                faults.append(Fault("cut", self._dice.randrange(1, calls)))
        self._tally.faults[kind or "cut"] += 1
        self.disk.set(*faults)

    async def _open(self) -> bool:
        """Whether it could be opened before the power went."""
        while True:
            try:
                await self._storage.open()
                return True
            except (StorageError, Unavailable):
                if self.disk.dead:
                    return False
                self._refused()

    def _refused(self) -> None:
        self._tally.refused += 1
        self._patience -= 1
        if self._patience <= 0:
            self.disk.repair()

    async def _play(self, player: _Player) -> None:
        script = player.script
        for verb, expected in zip(script.verbs, script.answers, strict=True):
            while True:
                player.trying = True
                try:
                    answer = await play(self._storage, verb)
                except (StorageError, Unavailable):
                    if self.disk.dead:
                        return
                    self._refused()
                    await self._nothing_of_it_is_seen(player)
                    continue
                if answer != expected:
                    raise Broken(f"{verb} answered {answer!r:.500}\ninstead of {expected!r:.500}")
                player.done += 1
                player.trying = False
                self._tally.acknowledged += 1
                break

    async def _nothing_of_it_is_seen(self, player: _Player) -> None:
        try:
            seen = await look(self._storage, player.script)
        except (StorageError, Unavailable):
            return  # reads fail too
        expected = player.script.views[player.done]
        if seen != expected:
            raise Broken(f"{player.script.verbs[player.done]} was refused, but {_difference(seen, expected)}")

    async def _check_after_cut(self) -> None:
        found = self._place / "found"
        self.disk.image(found)
        await self._check(found / "runyard.db")

    async def _check(self, path: Path) -> None:
        if path.exists():  # noqa: ASYNC240
            database: Any = connection.connect(path)
            problems = database.execute("PRAGMA integrity_check").fetchall()
            database.close()
            if problems != [("ok",)]:
                raise Broken(f"{path} is damaged: {problems}")
        storage = SqliteStorage(path)
        await storage.open()
        try:
            for player in self._players:
                await self._check_player(storage, player)
            executing = sum(len(player.script.runs) for player in self._players)
            recovered = await storage.recover(10**6, 10**6)
            if len(recovered.requeued) + len(recovered.lost) > executing:
                raise Broken(f"recovered {recovered}")
            if (await storage.figures()).get("runs_running", 0):
                raise Broken("a run still executes after the recovery")
        finally:
            await storage.close()

    async def _check_player(self, storage: SqliteStorage, player: _Player) -> None:
        seen, views = await look(storage, player.script), player.script.views
        if seen == views[player.done]:
            return
        if player.trying and seen == views[player.done + 1]:
            self._tally.undecided += 1
            return
        verbs = player.script.verbs
        doing = f", while {verbs[player.done]} was being done," if player.trying else ""
        raise Broken(f"after {player.done} acknowledged verbs{doing} {_difference(seen, views[player.done])}")


def _difference(seen: View, expected: View) -> str:
    for name in sorted({*seen, *expected}):
        if seen.get(name) != expected.get(name):
            return f"{name} is {seen.get(name)!r:.500}\ninstead of {expected.get(name)!r:.500}"
    return "nothing differs"
