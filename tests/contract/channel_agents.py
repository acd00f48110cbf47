"""Agents for the contract of the Channel. They are in a module of their own, and hear of the test by named pipes, so
that they can also run in another process."""

from __future__ import annotations

import asyncio
import select
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn

from runyard import Context, SyncContext, agent
from runyard.errors import RunyardError

DEADLINE = 20.0
"""Seconds after which what does not come fails the test that waits for it."""


def pass_gate(path: str) -> None:
    """Blocks the thread until the pipe holds a byte, and takes it."""
    with open(path, "rb", buffering=0) as pipe:
        if not select.select([pipe], [], [], DEADLINE)[0]:
            raise TimeoutError(f"nobody opened {path}")
        pipe.read(1)


def open_gate(path: str, times: int = 1) -> None:
    """Lets so many pass."""
    with open(path, "wb", buffering=0) as pipe:
        pipe.write(b"." * times)


# what an attempt does


@agent
async def tells(input: int, ctx: Context) -> dict[str, Any]:
    """Emits its input, again and again, and returns it."""
    for turn in range(3):
        await ctx.emit([input, turn])
        await asyncio.sleep(0)
    return {"given": input}


@agent
def tells_blocking(input: int, ctx: SyncContext) -> dict[str, Any]:
    """The same without `await`."""
    for turn in range(3):
        ctx.emit([input, turn])
    return {"given": input}


@agent
async def does_all(ctx: Context) -> dict[str, Any]:
    """Makes a write of every kind."""
    await ctx.emit("first")
    await ctx.update({"n": 1})
    await ctx.step("double", lambda: 2)
    async with ctx.message() as message:
        await message.write("hel")
        await message.write("lo")
    await ctx.emit("last")
    return {"n": 3}


@agent
def does_all_blocking(ctx: SyncContext) -> dict[str, Any]:
    """The same without `await`."""
    ctx.emit("first")
    ctx.update({"n": 1})
    ctx.step("double", lambda: 2)
    with ctx.message() as message:
        message.write("hel")
        message.write("lo")
    ctx.emit("last")
    return {"n": 3}


@agent
async def looks_around(input: Any, ctx: Context) -> dict[str, Any]:
    """Returns all that it was given."""
    state = dict(ctx.state)
    answer = await ctx.interrupt("which one?")
    about = [ctx.run_id, ctx.thread_id, ctx.agent_id, ctx.attempt, ctx.config, ctx.metadata]
    return {"input": input, "about": about, "state": state, "answer": answer}


# code that outlives its attempt

_LEFT_BEHIND: set[asyncio.Task[None]] = set()


@agent
async def leaves_a_task(input: dict[str, str], ctx: Context) -> None:
    """A task of it goes on after the run, and tries to be heard."""

    async def linger() -> None:
        await asyncio.to_thread(pass_gate, input["gate"])
        try:
            await ctx.emit("too late")
        except RunyardError:
            await asyncio.to_thread(open_gate, input["refused"])

    _LEFT_BEHIND.add(task := asyncio.create_task(linger()))
    task.add_done_callback(_LEFT_BEHIND.discard)
    await ctx.emit("in time")


@agent
def leaves_a_thread(input: dict[str, str], ctx: SyncContext) -> None:
    """The same with a thread."""

    def linger() -> None:
        pass_gate(input["gate"])
        try:
            ctx.emit("too late")
        except RunyardError:
            open_gate(input["refused"])

    threading.Thread(target=linger, daemon=True).start()
    ctx.emit("in time")


# code that blocks, waits and stops


@agent
async def blocks(input: dict[str, str], ctx: Context) -> str:
    """Blocks the thread of its event loop, which it should not."""
    await ctx.emit("begun")
    pass_gate(input["gate"])
    return "passed"


@agent
def blocks_a_thread(input: dict[str, str], ctx: SyncContext) -> str:
    """Blocks its own thread, which it may."""
    ctx.emit("begun")
    pass_gate(input["gate"])
    return "passed"


@agent
async def waits(ctx: Context) -> None:
    """Waits for ever, and cleans up when it is stopped."""
    await ctx.emit("begun")
    try:
        await asyncio.Event().wait()
    finally:
        await ctx.emit("unwound")


@agent
def works_until_told(ctx: SyncContext) -> None:
    """Works without a call until it has been asked to stop; only its next call says so."""
    ctx.emit("begun")
    deadline = time.monotonic() + DEADLINE
    while not ctx.cancelled:
        if time.monotonic() > deadline:
            raise TimeoutError("the wish to stop never came")
        time.sleep(0.001)
    try:
        ctx.emit("not shown")
    finally:
        ctx.emit("unwound")


@agent
async def goes_on(ctx: Context) -> str:
    """Is stopped while it waits, and ends well all the same."""
    await ctx.emit("begun")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass
    return "done"


@agent
def never_ends(input: dict[str, str], ctx: SyncContext) -> None:
    """Does not care about being stopped."""
    ctx.emit("begun")
    pass_gate(input["gate"])


# much to say


@agent
async def pours(input: dict[str, int], ctx: Context) -> str:
    """Emits as fast as it may: `count` payloads of about `size` bytes."""
    for number in range(input["count"]):
        await ctx.emit([number, "x" * input["size"]])
    return "done"


@agent
def pours_blocking(input: dict[str, int], ctx: SyncContext) -> str:
    """The same without `await`."""
    for number in range(input["count"]):
        ctx.emit([number, "x" * input["size"]])
    return "done"


# the store


@agent
async def asks_much(input: int, ctx: Context) -> list[Any]:
    """Asks for many documents at once."""
    found = await asyncio.gather(*(ctx.store.get(("n",), str(number)) for number in range(input)))
    return [None if item is None else item.value["key"] for item in found]


@agent
async def uses_the_store(ctx: Context) -> list[Any]:
    """Makes each call there is."""
    await ctx.store.put(("n",), "k", {"v": 1}, ttl=5)
    item = await ctx.store.get(("n",), "k")
    found = await ctx.store.search(("n",), {"v": 1})
    spaces = await ctx.store.namespaces(("n",))
    await ctx.store.delete(("n",), "k")
    return [item and item.key, [one.key for one in found], spaces]


@agent
def uses_the_store_blocking(ctx: SyncContext) -> list[Any]:
    """The same without `await`."""
    ctx.store.put(("n",), "k", {"v": 1}, ttl=5)
    item = ctx.store.get(("n",), "k")
    found = ctx.store.search(("n",), {"v": 1})
    spaces = ctx.store.namespaces(("n",))
    ctx.store.delete(("n",), "k")
    return [item and item.key, [one.key for one in found], spaces]


@agent
async def is_refused(ctx: Context) -> str:
    """Says what went wrong with its call."""
    try:
        await ctx.store.put(("n",), "k", {})
    except RunyardError as error:
        return f"{error.reason}: {error.message}"
    return "stored"


# bad ends


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Fatal(Exception):
    """Making its text ends the process, or tries to."""

    def __str__(self) -> str:
        raise SystemExit(1)


class Odd(Exception):
    """Its text is none."""

    def __str__(self) -> Any:
        return 7


class Own(BaseException):
    """Passes `except Exception`."""


def _recurse(depth: int) -> int:
    return _recurse(depth + 1) + 1


def _raise(error: BaseException) -> NoReturn:
    raise error


def _in_a_group() -> NoReturn:
    raise BaseExceptionGroup("several", [ValueError("one"), KeyboardInterrupt()])


RAISES: dict[str, Callable[[], Any]] = {
    "ValueError": lambda: _raise(ValueError("no")),
    "Own": lambda: _raise(Own("no")),
    "SystemExit": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "CancelledError": lambda: _raise(asyncio.CancelledError()),
    "RecursionError": lambda: _recurse(0),
    "MemoryError": lambda: _raise(MemoryError()),
    "BaseExceptionGroup": _in_a_group,
    "Mute": lambda: _raise(Mute()),
    "Fatal": lambda: _raise(Fatal()),
    "Odd": lambda: _raise(Odd()),
    "UnicodeEncodeError": lambda: "\ud800".encode(),
}
"""The name of an exception -> what raises it."""


@agent
async def fails(input: str, ctx: Context) -> None:
    await ctx.emit("begun")
    RAISES[input]()


@agent
def fails_blocking(input: str, ctx: SyncContext) -> None:
    ctx.emit("begun")
    RAISES[input]()


@agent
async def fails_yielding(input: str) -> AsyncIterator[Any]:
    yield {"n": 1}
    RAISES[input]()


@agent
def fails_yielding_blocking(input: str) -> Iterator[Any]:
    yield {"n": 1}
    RAISES[input]()


@agent
async def leaves_a_bad_task(input: str, ctx: Context) -> None:
    """Is done, but a task of it is not, and fails beside it."""

    async def fail() -> None:
        RAISES[input]()

    _LEFT_BEHIND.add(task := asyncio.create_task(fail()))
    task.add_done_callback(_LEFT_BEHIND.discard)
    await ctx.emit("begun")
