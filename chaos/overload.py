"""Readers in crowds: slow ones beside fast ones, ten thousand that hear nothing, thousands that come back at once.

Three stories, each on a server of its own. Whatever the others do, each reader gets every event once and in order,
those who keep up keep up, the server answers whoever asks something else, and its memory has a bound.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from chaos.crowd import Crowd, Reader, make_room
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import Server

PER_SECOND = 200
"""Events of a steady run."""
QUEUE_BYTES = 500_000
"""How far a reader may fall behind (`reader_queue_bytes`) where slow ones are beside fast ones."""
PATIENCE_S = 240.0
"""Seconds after which what has not happened will not happen."""
SLOWER = 5.0
SLOWER_S = 0.25
"""Fast readers may have their events so many times later beside slow ones, or so many seconds later."""
ANSWER_S = 5.0
"""Seconds within which every other request is answered while thousands of readers come, or come back."""
BASE_BYTES = 60_000_000
"""Memory that a server may take for its work, whoever reads."""
SLOW_BYTES = 200_000
IDLE_BYTES = 30_000
RETURNING_BYTES = 40_000
"""Memory that it may take for each reader: a slow one, an idle one, one that is shown what it missed."""


@dataclass(frozen=True)
class _Told:
    """What a story found out, and what of it is broken only if time and memory are judged."""

    rows: Rows
    complaints: list[str]


def run(
    *,
    slow: int = 1000,
    fast: int = 10,
    idle: int = 10_000,
    returning: int = 5000,
    seconds: float = 10.0,
    log: int = 3000,
    size: int = 1000,
    seed: int = 1,
    judged: bool = True,
    progress: Progress = silent,
) -> Rows:
    """So many readers of each kind; the steady run beside the slow ones goes on for so many seconds, and says `size`
    bytes at a time; those who come back come back to a log of `log` events.

    `judged`: whether delays and memory are held to their bounds; what readers see always is.

    Raises:
        Broken: a promise did not hold, or this machine does not allow so many connections.
    """
    make_room(max(slow + 2 * fast, idle, returning))
    with tempfile.TemporaryDirectory(prefix="runyard-overload-") as name:
        folder = Path(name)
        told = [
            _slow_beside_fast(folder, slow, fast, seconds, size, progress),
            _idle(folder, idle, progress),
            _returning(folder, returning, log, Random(seed), progress),
        ]
    complaints = [complaint for one in told for complaint in one.complaints]
    rows = [row for one in told for row in one.rows]
    if judged and complaints:
        raise Broken("overload: " + "; ".join(complaints) + f"\n{rows}")
    return rows


# slow ones beside fast ones


def _slow_beside_fast(root: Path, slow: int, fast: int, seconds: float, size: int, progress: Progress) -> _Told:
    with _served(root / "slow", reader_queue_bytes=QUEUE_BYTES) as (server, folder), Crowd(server.port) as crowd:
        progress(f"overload: {fast} fast readers alone")
        alone, _ = _steady(server, crowd, folder / "alone", fast, [], seconds / 2, size)
        before = _memory_from_here(server)
        progress(f"overload: {fast} fast readers, and {slow} slow ones")
        others = [Reader("", after=0, pace="still" if number % 2 else "trickle") for number in range(slow)]
        beside, count = _steady(server, crowd, folder / "beside", fast, others, seconds, size)
        progress(f"overload: {slow} slow readers read the rest")
        cut = _read_the_rest(crowd, others, count)
        most, after = server.most_memory(), server.memory()
    p99_alone, p99_beside = _quantile(alone, 0.99), _quantile(beside, 0.99)
    complaints: list[str] = []
    if p99_beside > max(SLOWER * p99_alone, SLOWER_S):
        complaints.append(f"fast readers had their events {p99_beside:.3f} s late beside {slow} slow ones")
    complaints += _bounded("slow", slow, most - before, SLOW_BYTES)
    return _Told(
        [
            ("fast readers; events of each, every one once and in order", f"{fast}; {count:,}"),
            ("their delay alone: median, p99", _delays(alone)),
            (f"their delay beside {slow:,} slow ones: median, p99", _delays(beside)),
            ("slow readers, each event once and in order in the end", f"{slow:,}"),
            ("of them cut, and gone on with their cursor", f"{cut:,}"),
            ("memory before, at most, after", _megabytes(before, most, after)),
        ],
        complaints,
    )


def _steady(
    server: Server, crowd: Crowd, gate: Path, fast: int, others: Sequence[Reader], seconds: float, size: int
) -> tuple[list[float], int]:
    """A run that says something at a steady rate until its fast readers have seen its end: their delays, and how many
    events it had."""
    count = int(seconds * PER_SECOND)
    run_id = _create(server, [{"count": count, "pause": 1 / PER_SECOND, "size": size, "gate": str(gate)}])
    readers = [Reader(run_id, after=0) for _ in range(fast)]
    for reader in readers:
        reader.delays = []
    for reader in others:
        reader.run_id = run_id
    crowd.join([*others, *readers])
    crowd.until(lambda: _opened([*others, *readers]), PATIENCE_S, "all readers are answered")
    gate.touch()
    crowd.until(lambda: _gone(readers), PATIENCE_S, "the fast readers see the end")
    for reader in readers:
        if reader.cut or not reader.ended:
            raise Broken(f"a reader that reads at once was cut after {reader.number} of {count} events")
        _whole(reader, count)
    return sorted(delay for reader in readers for delay in reader.delays or ()), count


def _read_the_rest(crowd: Crowd, readers: Sequence[Reader], count: int) -> int:
    """All of them read on to the end, those that were cut from their cursor on; how many were cut."""
    crowd.hurry(readers)
    crowd.until(lambda: _gone(readers), PATIENCE_S, "slow readers get what was kept for them")
    back = [reader for reader in readers if not reader.ended]
    if any(not reader.cut for reader in back):
        raise Broken("the stream of a slow reader was ended without a word")
    crowd.join(back)
    crowd.until(lambda: _gone(back), PATIENCE_S, "readers that were cut get the rest")
    for reader in readers:
        _whole(reader, count)
    return len(back)


# idle ones


def _idle(root: Path, idle: int, progress: Progress) -> _Told:
    said = 5
    with _served(root / "idle") as (server, folder), Crowd(server.port) as crowd:
        gate = folder / "gate"
        run_id = _create(server, [{"count": said, "pause": 0.05, "gate": str(gate)}])
        before = _memory_from_here(server)
        readers = [Reader(run_id) for _ in range(idle)]
        crowd.ask(True)
        begun = time.monotonic()
        for start in range(0, idle, 500):
            progress(f"overload: {start} idle readers")
            some = readers[start : start + 500]
            crowd.join(some)
            crowd.until(lambda some=some: _opened(some), PATIENCE_S, "all readers are answered")
        joined = time.monotonic() - begun
        held = server.memory()
        _linger(crowd, min(2.0, idle / 5000))
        asked = _asked(crowd)
        progress(f"overload: the run of {idle} idle readers goes on")
        gate.touch()
        begun = time.monotonic()
        crowd.until(lambda: _gone(readers), PATIENCE_S, "idle readers see the end of their run")
        ended = time.monotonic() - begun
        for reader in readers:
            _whole(reader, said)
        most = server.most_memory()
        crowd.ask(False)
        after = server.memory()
    complaints = _bounded("idle", idle, most - before, IDLE_BYTES) + _answered(f"{idle} idle readers", asked)
    return _Told(
        [
            ("idle readers, each with all events and the end", f"{idle:,}"),
            ("joined after, all ended after", f"{joined:.1f} s, {ended:.1f} s"),
            ("memory before, with them, at most, after", _megabytes(before, held, most, after)),
            ("for each of them", f"{(held - before) / idle / 1000:.1f} kB"),
            ("other requests meanwhile: median, longest", _delays(asked, 1.0)),
        ],
        complaints,
    )


# those who come back


def _returning(root: Path, count: int, log: int, dice: Random, progress: Progress) -> _Told:
    more = 5
    with _served(root / "returning") as (server, folder), Crowd(server.port) as crowd:
        before = _memory_from_here(server)
        go_on = folder / "go_on"
        run_id = _create(server, [{"count": log, "size": 200}, {"count": more, "pause": 0.1, "gate": str(go_on)}])
        first = Reader(run_id, after=0)
        crowd.join([first])
        crowd.until(lambda: first.number == log, PATIENCE_S, "the log is written")
        progress(f"overload: {count} readers in the middle of a log")
        assert first.after is not None
        middle = range(first.after - log // 2, first.after - log // 20)
        readers = [Reader(run_id, after=dice.choice(middle), number=None) for _ in range(count)]
        for start in range(0, count, 500):
            some = readers[start : start + 500]
            crowd.join(some)
            crowd.until(lambda some=some: _begun(some), PATIENCE_S, "readers are shown what they missed")
            crowd.leave(some)
        progress(f"overload: {count} readers come back at once")
        crowd.ask(True)
        begun = time.monotonic()
        crowd.join(readers)
        go_on.touch()
        crowd.until(lambda: _gone([first, *readers]), PATIENCE_S, "readers that came back see the end")
        took = time.monotonic() - begun
        for reader in (first, *readers):
            _whole(reader, log + more)
        asked = _asked(crowd)
        crowd.ask(False)
        most, after = server.most_memory(), server.memory()
    missed = sum(log + more - (reader.first or 0) for reader in readers)
    complaints = _bounded("returning", count, most - before, RETURNING_BYTES)
    complaints += _answered(f"{count} readers that come back", asked)
    return _Told(
        [
            ("readers back at once, each with every event it missed", f"{count:,}"),
            (f"of a log of {log:,} events: in all, after", f"{missed:,}, {took:.1f} s"),
            ("memory before, at most, after", _megabytes(before, most, after)),
            ("other requests meanwhile: median, longest", _delays(asked, 1.0)),
        ],
        complaints,
    )


# what the stories share


@contextmanager
def _served(folder: Path, **settings: object) -> Generator[tuple[Server, Path]]:
    """A server and its folder. All servers of one parent folder share their byte code."""
    folder.mkdir()
    env = {"PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode")}
    server = Server(folder, settings={"log_level": "warning", **settings}, env=env)
    try:
        asyncio.run(server.start())
        yield server, folder
    except Exception as error:
        raise Broken(f"overload: {type(error).__name__}: {error}\n{server.log_end()}") from error
    finally:
        server.end()


def _create(server: Server, stages: Sequence[Mapping[str, Any]]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    body = json.dumps({"agent_id": "stages", "input": list(stages)})
    try:
        connection.request("POST", "/runs", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise Broken(f"creating a run was answered {answer.status} {text.decode()}")
    run_id: str = json.loads(text)["run_id"]
    return run_id


def _memory_from_here(server: Server) -> int:
    server.forget_most_memory()
    return server.memory()


def _linger(crowd: Crowd, seconds: float) -> None:
    ends = time.monotonic() + seconds
    crowd.until(lambda: time.monotonic() >= ends, PATIENCE_S, "time passes")


def _opened(readers: Sequence[Reader]) -> bool:
    return all(reader.opened for reader in readers)


def _begun(readers: Sequence[Reader]) -> bool:
    return all(reader.first is not None for reader in readers)


def _gone(readers: Sequence[Reader]) -> bool:
    return all(reader.eof for reader in readers)


def _whole(reader: Reader, count: int) -> None:
    """It has seen everything to the end, in order: the latter its reader has looked at all the time.

    Raises:
        Broken: it has not.
    """
    if not reader.ended or reader.number != count:
        raise Broken(f"a reader saw {reader.number} of {count} events, and {'the' if reader.ended else 'no'} end")


def _bounded(kind: str, readers: int, grown: int, each: int) -> list[str]:
    allowed = BASE_BYTES + readers * each
    if grown <= allowed:
        return []
    return [f"{readers} {kind} readers took {grown / 1e6:.0f} MB of memory, and {allowed / 1e6:.0f} are allowed"]


def _asked(crowd: Crowd) -> list[float]:
    """How long each other request took, the one under way included."""
    asker = crowd.asker
    assert asker is not None
    crowd.until(lambda: not asker.since or bool(asker.took), PATIENCE_S, "another request is answered")
    waits = [time.monotonic() - asker.since] if asker.since else []
    return sorted(asker.took + waits)


def _answered(beside: str, asked: Sequence[float]) -> list[str]:
    return [f"a request beside {beside} took {asked[-1]:.1f} s"] if asked and asked[-1] > ANSWER_S else []


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def _delays(values: Sequence[float], share: float = 0.99) -> str:
    return f"{_quantile(values, 0.5) * 1e3:.1f} ms, {_quantile(values, share) * 1e3:.1f} ms"


def _megabytes(*sizes: int) -> str:
    return ", ".join(f"{size / 1e6:.0f} MB" for size in sizes)
